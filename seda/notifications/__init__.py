"""Toasts' caps, and pushes from the decision to the device."""
