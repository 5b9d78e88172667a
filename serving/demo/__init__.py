"""`/demo`: a page on which one can see the platform at work, never there in production.

One static page without a build step, and the few endpoints that let it speak for a listener of the
sandbox. Everything else that it does, it does through the API and the real-time service, as an app.
"""
