"""What is personal, where it lies, and how it leaves."""
