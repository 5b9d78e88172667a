"""The Socket.IO service: presence intents in, presence messages out to the actor's friends.

Intents are acknowledged after commit. Aggregation windows, toasts and several processes are not
here yet: messages go out one change at a time, from this process to its own connections.
"""
