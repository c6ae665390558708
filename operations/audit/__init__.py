"""``openv audit``, and what every change by an operator is wrapped in: who did what from where.

Invariants: nothing is done that is not recorded first; nothing recorded is ever changed.
May import: operations, repo, schemas.
"""
