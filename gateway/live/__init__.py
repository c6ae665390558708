"""Watching: the feed of the log, and the WebSocket and event streams that it is shown on.

The doors are ``handshake.py`` and ``sse.py``; ``watch.py`` is one connection on either.
"""
