"""Pure parts of storage: object keys. May import: ``schemas``."""
