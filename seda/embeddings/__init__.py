"""Embeddings: spaces, the texts that are embedded, the embedders, and people's taste vectors."""
