"""``openv deadletters``: what could not be processed: shown, redriven, edited, discarded.

Invariants: a dead letter is never deleted; what became of it is written down beside.
May import: operations, repo, schemas.
"""
