"""``openv doctor``: looks at everything that OpenV depends on, and names the one command that mends each finding.

Invariants: changes nothing unless told to repair.
May import: operations, gateway's settings, repo, schemas.
"""
