"""Accounts at music providers: one connector per provider, and what comes in through them.

Nothing here stores a token in clear text: whoever calls brings a `Sealer`.
"""
