"""The door: HTTP and WebSocket in, commands out; decisions and progress pushed to those they concern.

Concurrency: one asyncio loop a process, N stateless copies behind any load balancer.
Invariants: decides no quota, retry or job state; writes no job document; forwards events as stored bytes.
May import: ``repo``, ``schemas``, Starlette.
"""
