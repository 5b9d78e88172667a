"""The services: a thin FastAPI app over materialised rows, and the Socket.IO service beside it."""
