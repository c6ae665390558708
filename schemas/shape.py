"""The one decorator of all that is written down: a frozen dataclass that pydantic reads and writes in camelCase.

Unknown members are ignored when read (a type only grows); NaN and infinities are refused; None is left out.
"""

from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

import orjson
from pydantic import ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

T = TypeVar("T")

# What could not be read is never quoted in an error: it may hold a prompt, and errors are logged.
_CONFIG = ConfigDict(alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False, hide_input_in_errors=True)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def shape(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen, slotted, keyword-only dataclass with camelCase members on the wire."""
    made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
    made.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]
    return made


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def adapter(cls: type[T]) -> TypeAdapter[T]:
    """Pydantic's reader and writer of a shape, built once a process."""
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


def to_json(value: Any) -> bytes:
    """A shape as JSON bytes; instants become RFC 3339 text."""
    return orjson.dumps(to_plain(value))


def to_plain(value: Any) -> dict[str, Any]:
    """A shape as plain JSON data; instants become RFC 3339 text."""
    plain: dict[str, Any] = adapter(type(value)).dump_python(value, mode="json", by_alias=True, exclude_none=True)
    return plain


def to_stored(value: Any) -> dict[str, Any]:
    """A shape as a MongoDB document; instants become aware ``datetime`` objects."""
    stored: dict[str, Any] = adapter(type(value)).dump_python(value, mode="python", by_alias=True, exclude_none=True)
    return stored


def from_plain(cls: type[T], data: Any) -> T:
    """Read a shape from plain data or a MongoDB document. Raises ``pydantic.ValidationError``."""
    return adapter(cls).validate_python(data)


def from_json(cls: type[T], data: bytes) -> T:
    """Read a shape from JSON bytes. Raises ``pydantic.ValidationError``."""
    return adapter(cls).validate_json(data)
