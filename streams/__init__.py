"""Every decision: the ledger (who may, and what happened), the scheduler (which worker runs what), the janitor.

Concurrency: one loop a process with one Faust app a role; partitions side by side, one message at a time in each; N
processes share the partitions.
Invariants: decide, compare-and-set, announce, acknowledge, in that order; no wall clock in a decision.
May import: ``repo``, ``schemas``, Faust (``app``, ``agents`` and ``service`` alone).
"""
