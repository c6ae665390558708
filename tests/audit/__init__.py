"""The audit: restarts and rebalances of the stream processors under load, checked offset by offset.

``python -m tests.audit --trials 300`` (``make audit``). What is compared, and what is not, is said in ``judge.py``.
"""
