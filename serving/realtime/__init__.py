"""The Socket.IO service: intents in, acknowledged after commit; presence and toasts out to friends.

Several processes may run: the database is the truth, and what it announces reaches each of them.
"""
