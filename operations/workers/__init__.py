"""``openv workers``: who renders what, drain one.

Invariants: orders go through the scheduler.
May import: operations, repo, schemas.
"""
