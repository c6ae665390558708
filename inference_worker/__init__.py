"""Runs one attempt at a time: a parent process that owns the connections, a child process that owns the model.

Concurrency: the parent is one asyncio loop; the child is single-threaded but for a thread that listens for "stop".
Invariants: decides no retry; a finished video survives a storage outage; a stuck child is killed.
May import: ``repo``, ``schemas``; torch and diffusers only below ``engines``.
"""
