"""What operators' commands decide and reckon, without I/O: scopes, plans, timelines, findings.

May import: schemas, and the cores of streams and repo.
"""
