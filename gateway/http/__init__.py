"""HTTP routes, one module an API surface. May import: the gateway's own modules, ``repo.ports``, ``schemas``."""
