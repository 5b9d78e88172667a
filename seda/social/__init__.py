"""Pure social rules: what a card, a toast or a presence message says. No I/O in this room."""
