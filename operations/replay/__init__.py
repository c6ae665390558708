"""``openv replay``: records of a topic or a file, written again to a topic or a file; never without a dry run.

Concurrency: one executor a replay, by a lease in MongoDB.
Invariants: each record of the scope is written once, whatever dies; nothing is written that the dry run did not show,
nor a dead letter that an operator has discarded.
May import: operations, streams, repo, schemas.
"""
