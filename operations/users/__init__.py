"""``openv users``: what an operator sees and changes of a user.

Invariants: changes accounts in no other way than by commands on topics.
May import: operations, repo, schemas.
"""
