"""``openv jobs``: a job's whole life as a timeline; requeue, kill an attempt, cancel, delete.

Invariants: changes a job in no other way than by commands on topics.
May import: operations, repo, schemas.
"""
