"""The vocabulary: every message, document and HTTP body, the life-cycle table, the topic table, ids.

Concurrency: none; everything here is immutable data and pure functions.
Invariants: a message type only grows; what was once written to a topic stays readable (``tests/histories``).
May import: the standard library and pydantic. Imports nothing of ours.
"""
