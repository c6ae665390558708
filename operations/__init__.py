"""The ``openv`` command: the embedded stack, topics, keys, and running each part.

Concurrency: one asyncio loop for ``openv up``, which supervises the other processes.
Invariants: changes a job in no other way than by commands on topics.
May import: every other part.
"""
