"""What is wrong with a body of the original form, in the words of OpenV's validator (zod 3), which its clients show.

The model is looked at first, and alone: its limits decide about the rest. Never the prompt, but the name of an unknown
model is repeated, as there; cut, where it is long.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from schemas.api.openv import FieldError
from schemas.requests import LIMITS, MODEL

QUOTED_MAX = 100
_TEXTS = frozenset({"prompt", "positive_prompt", "negative_prompt"})


def original_errors(error: ValidationError) -> tuple[FieldError, ...]:
    """One line for everything that is wrong; ``field`` is the path in the body, as ``input.num_frames``."""
    found = error.errors(include_url=False)
    of_model = [one for one in found if one["loc"] == ("modelName",)]
    return tuple(
        FieldError(field=".".join(map(str, one["loc"])), message=words)
        for one in of_model or found
        for words in _words(one["type"], str(one["loc"][-1]) if one["loc"] else "", one["input"], one.get("ctx", {}))
    )


def kind_of(value: Any) -> str:
    """What a JSON value is called."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _words(kind: str, member: str, value: Any, context: Mapping[str, Any]) -> Iterator[str]:
    bounds = LIMITS.get(member)
    if kind == "missing":
        yield "Required"
    elif kind == "string_too_short":
        yield f"String must contain at least {context['min_length']} character(s)"
    elif kind == "string_too_long":
        yield f"String must contain at most {context['max_length']} character(s)"
    elif kind == "value_error":
        yield str(context.get("error", "Invalid input"))
    elif member == "modelName" and isinstance(value, str):
        yield f"Invalid enum value. Expected '{MODEL}', received '{value[:QUOTED_MAX]}'"
    elif bounds is None or kind_of(value) != "number":
        yield f"Expected {_wanted(member)}, received {kind_of(value)}"
    else:
        if isinstance(value, float) and not value.is_integer() and member != "cfg":
            yield "Expected integer, received float"
        if value < bounds.least:
            yield f"Number must be greater than or equal to {bounds.least:.0f}"
        if value > bounds.most:
            yield f"Number must be less than or equal to {bounds.most:.0f}"


def _wanted(member: str) -> str:
    if member == "modelName":
        return f"'{MODEL}'"
    if member in _TEXTS:
        return "string"
    return "number" if member in LIMITS else "object"
