"""Pure generators of the seeded sandbox: a seed in, arrays out, no database anywhere."""
