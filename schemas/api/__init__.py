"""HTTP bodies and socket frames, one module an API surface. May import: ``schemas``, pydantic."""
