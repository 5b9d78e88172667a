"""Replays presence to real Socket.IO clients, and measures what reaches them (QA-3).

`schedule`, `expectation` and `figures` are pure; `crowd` reads the database, `intake` writes to it,
`wire` and `listeners` are the clients, `replaying` runs all of it.
"""
