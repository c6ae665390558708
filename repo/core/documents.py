"""Shapes as MongoDB documents and back, checked both ways: what is stored can be read again, or it is not stored.

A document is the shape's own members (``schemas/shape.py``) and ``_id``. Names that users choose (labels) are quoted,
because MongoDB gives ``.`` and ``$`` in names a meaning, and BSON ends a name at a zero byte.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import NoneType
from typing import Any, TypeVar
from urllib.parse import unquote

from pydantic import ValidationError

from schemas.instants import to_datetime
from schemas.shape import from_plain, to_stored

T = TypeVar("T")

_INT64 = range(-(2**63), 2**63)
_PLAIN = frozenset({str, int, float, bool, datetime, NoneType})  # nearly all, and cheaper told than a Mapping is
_QUOTED = str.maketrans({"%": "%25", ".": "%2E", "$": "%24", "\0": "%00"})
_LAST_MS = 253_402_300_799_999  # the end of the year 9999, the last that a datetime holds


class NotStorableError(ValueError):
    """A value that could not be read again: NaN, text that is no Unicode, an integer over 64 bits."""


class DamagedDocumentError(Exception):
    """A stored document can't be read. Names the document and its wrong members, never their values.

    ``kind``: the shape it should have (``Account``), ``document_id``: its id, ``places``: its wrong
    members and how they are; each "" where nobody knows.
    """

    def __init__(self, words: str, kind: str = "", document_id: str = "", places: str = "") -> None:
        super().__init__(words)
        self.kind = kind
        self.document_id = document_id
        self.places = places


LeftOut = Callable[[DamagedDocumentError], None]  # is told of a document that a list leaves out


def to_document(value: Any, document_id: str) -> dict[str, Any]:
    """The document of a shape. Raises ``NotStorableError``."""
    kind = type(value)
    try:
        stored = to_stored(value)
        from_plain(kind, stored)
        return {"_id": document_id, **_quoted(stored)}
    except ValidationError as error:
        raise NotStorableError(f"{kind.__name__} can't be stored: {_places(error)}") from None
    except (ValueError, OverflowError, OSError) as error:  # an instant outside the calendar, or from _quoted
        raise NotStorableError(f"{kind.__name__} can't be stored: {type(error).__name__}") from None


def from_document(kind: type[T], document: Mapping[str, Any]) -> T:
    """The shape of a document. Raises ``DamagedDocumentError``."""
    try:
        return from_plain(kind, _unquoted(document))
    except ValidationError as error:
        name, document_id = kind.__name__, document.get("_id")
        places = _places(error)
        words = f"a damaged document in MongoDB: {name} {document_id!r}: {places}"
        raise DamagedDocumentError(words, name, str(document_id), places) from None


def to_moment(at: int) -> Any:
    """An instant for a query: a BSON date, moved into the calendar where a caller asks beyond it."""
    return to_datetime(min(max(at, 0), _LAST_MS))


def _quoted(value: Any) -> Any:
    if isinstance(value, str):
        if not value.isascii():
            value.encode()  # a lone surrogate has no UTF-8 form, and BSON is UTF-8
        return value
    if isinstance(value, int):
        if value not in _INT64:
            raise ValueError("over 64 bits")
        return value
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {_quoted_name(str(name)): _quoted(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_quoted(one) for one in value]
    return value


def _quoted_name(name: str) -> str:
    """Nearly all are our members' names, which need no look at every character."""
    return name if name.isidentifier() else name.translate(_QUOTED)


def _unquoted(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {unquote(name) if "%" in name else name: _unquoted(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_unquoted(one) for one in value]
    return value


def _places(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'value'}: {one['type']}" for one in error.errors()[:5])
