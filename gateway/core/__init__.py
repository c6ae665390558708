"""The gateway's pure parts: the window of events, subscriptions, submission rules. May import: ``schemas``."""
