"""``openv backup``, ``restore`` and ``rebuild``: a lost MongoDB comes back from a backup and ``openv.events``.

Invariants: a newer document is never replaced by an older one.
May import: operations, repo, schemas.
"""
