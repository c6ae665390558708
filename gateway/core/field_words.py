"""What a person reads about one wrong member of a body; never its value."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from schemas.requests import LIMITS

NOT_VALID = "is not valid"
_ALWAYS = MappingProxyType({"missing": "is required", "string_type": "must be text"})
_OF_KIND = MappingProxyType(
    {
        "string_too_short": "must not be empty",
        "bool_type": "must be true or false",
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "model_type": "must be a JSON object",
        "model_attributes_type": "must be a JSON object",
    }
)
_BOUNDS = (("ge", "at least"), ("le", "at most"), ("lt", "less than"))


def words(kind: str, context: Mapping[str, Any], own: str | None = None) -> str:
    """For a fault as pydantic names it. ``own``: what is said of this member where its value is not right, instead of
    what that kind of fault says."""
    if kind in _ALWAYS:
        return _ALWAYS[kind]
    if kind == "value_error":
        return str(context.get("error", NOT_VALID))
    if kind == "string_too_long":
        return f"must be at most {context['max_length']} characters"
    if own is not None:
        return own
    bounds = (f"must be {name} {context[bound]}" for bound, name in _BOUNDS if bound in context)
    return _OF_KIND.get(kind) or next(bounds, NOT_VALID)


def range_words(field: str) -> str | None:
    """What a field of a request may be, where it is a number (``LIMITS``)."""
    bounds = LIMITS.get(field)
    if bounds is None:
        return None
    number = "a number" if field == "cfg" else "a whole number"
    return f"must be {number} from {bounds.least:g} to {bounds.most:.0f}"
