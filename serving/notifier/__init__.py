"""The notifier: decides pushes when friends come, and delivers them from the outbox."""
