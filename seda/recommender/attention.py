"""How much a friend's presence is worth by its age: one curve for the night and for live order."""

ATTENTION = 0.5
"""What one friend who was just seen adds to the presence of an empty room."""
STALE_AFTER = 600.0
"""Seconds after which a sighting of a friend weighs 1/e."""
