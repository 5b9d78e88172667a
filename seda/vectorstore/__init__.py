"""Vectors in the database: their rows, each in one embedding space of one region."""
