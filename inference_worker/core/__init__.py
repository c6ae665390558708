"""The worker's state machine and progress arithmetic, pure. May import: ``schemas``."""
