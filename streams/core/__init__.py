"""The decisions as pure functions: state and message and time in, state and effects out. May import: ``schemas``."""
