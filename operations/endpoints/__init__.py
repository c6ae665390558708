"""``openv endpoints``: serverless endpoints as RunPod calls them, and keys for their workers.

Invariants: a change is a compare-and-set of one document; secrets are shown once.
May import: operations, repo, schemas.
"""
