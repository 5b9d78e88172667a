"""The EU region's own embedder: one model behind OpenAI's embeddings endpoint.

It keeps no text, logs none, and needs no database and no provider.
"""
