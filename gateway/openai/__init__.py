"""OpenAI's videos API, ``/v1/videos``: the same jobs under other names.

Decides nothing: requests become the commands that the other surfaces send. May import what ``gateway`` may.
"""
