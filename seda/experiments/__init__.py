"""Canaries (assignment, sequential tests, gates, the way back), flags, and offline evaluation."""
