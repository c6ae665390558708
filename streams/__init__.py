"""Every decision: the ledger (who may, and what happened), the scheduler (which worker runs what), the janitor.

Concurrency: one Faust worker a process, one message at a time a partition; N processes share the partitions.
Invariants: decide, compare-and-set, announce, acknowledge, in that order; no wall clock in a decision.
May import: ``repo``, ``schemas``, Faust (the shell files alone).
"""
