"""A service that stands in for the providers: their wire formats, and failures on demand.

One module per wire format; `service.py` decides each request's fate and records it, `app.py` is
the ASGI app with its control plane.
"""
