"""The admin API: the operators' commands over HTTP, in a process of its own (``openv admin``).

Apart from the gateways, so that no look through a topic holds up a user's socket, and so that its port can be kept from
the world. Concurrency: one asyncio loop; what takes long is a task that outlives its request.
Invariants: only admins; every change is recorded in ``openv.audit`` before it is made.
May import: operations, gateway's identity, repo, schemas.
"""
