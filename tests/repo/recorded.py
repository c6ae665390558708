"""Every query that a MongoDB store can ask, without a server: each method is called in many ways, and what it asks of
its collections is written down. Stores are those that ``MongoDatabase`` names, so that a new one is seen by itself."""

import ast
import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from itertools import product
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pymongo.errors import BulkWriteError, DuplicateKeyError

from repo.core.documents import DamagedDocumentError
from repo.mongo import MongoDatabase

Keys = tuple[tuple[str, int], ...]
OPERATIONS = (
    "find", "find_one", "insert_one", "replace_one", "update_one", "update_many", "delete_one", "delete_many",
    "find_one_and_delete", "find_one_and_update", "find_one_and_replace", "distinct", "bulk_write", "insert_many",
    "count_documents", "aggregate",
)  # fmt: skip
MOODS = ("nothing is there", "others were first", "documents are damaged")


@dataclass
class Query:
    """What was asked: ``site`` is (file, line) of the call."""

    collection: str
    operation: str
    wanted: Mapping[str, Any]
    site: tuple[str, int]
    sort: Keys = ()
    limit: int = 0
    hint: Keys = ()


@dataclass(frozen=True)
class Done:
    """The driver's word on a write that met nothing."""

    matched_count: int = 0
    modified_count: int = 0
    deleted_count: int = 0


class Cursor:
    """Of a find."""

    def __init__(self, query: Query, found: list[dict[str, Any]]) -> None:
        self._query = query
        self._found = found

    def sort(self, keys: Sequence[tuple[str, int]]) -> "Cursor":
        self._query.sort = tuple(keys)
        return self

    def limit(self, limit: int) -> "Cursor":
        self._query.limit = limit
        return self

    def hint(self, keys: Sequence[tuple[str, int]]) -> "Cursor":
        self._query.hint = tuple(keys)
        return self

    async def to_list(self, _length: int | None) -> list[dict[str, Any]]:
        return self._found


class Collection:
    """Answers as its mood is. An operation that it does not have fails the test: add it here."""

    def __init__(self, name: str, mood: str, queries: list[Query]) -> None:
        self._name = name
        self._mood = mood
        self._queries = queries
        self._written: dict[str, Any] | None = None
        self._refused = False

    def _note(self, operation: str, wanted: Mapping[str, Any]) -> Query:
        frame = sys._getframe(2)
        while Path(frame.f_code.co_filename).parent.name != "repo" or "tests" in frame.f_code.co_filename:
            assert frame.f_back is not None
            frame = frame.f_back
        query = Query(self._name, operation, wanted, (frame.f_code.co_filename, frame.f_lineno))
        self._queries.append(query)
        return query

    def find(self, wanted: Mapping[str, Any], _shown: Mapping[str, Any] | None = None) -> Cursor:
        damaged: list[dict[str, Any]] = [{"_id": "x"}] if self._mood == MOODS[2] else []
        return Cursor(self._note("find", wanted), damaged)

    async def find_one(self, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        self._note("find_one", wanted)
        return {"_id": "x"} if self._mood == MOODS[2] else self._written

    async def insert_one(self, document: dict[str, Any]) -> None:
        self._note("insert_one", {"_id": document["_id"]})
        self._conflict(document)

    async def replace_one(self, wanted: Mapping[str, Any], document: dict[str, Any], *, upsert: bool = False) -> Done:
        self._note("replace_one", wanted)
        if upsert:
            self._conflict(document)
        return Done()

    async def update_one(self, wanted: Mapping[str, Any], _change: Any, *, upsert: bool = False) -> Done:
        self._note("update_one", wanted)
        return Done()

    async def delete_one(self, wanted: Mapping[str, Any]) -> Done:
        self._note("delete_one", wanted)
        return Done()

    async def delete_many(self, wanted: Mapping[str, Any]) -> Done:
        self._note("delete_many", wanted)
        return Done()

    async def find_one_and_delete(self, wanted: Mapping[str, Any]) -> None:
        self._note("find_one_and_delete", wanted)

    async def find_one_and_update(self, wanted: Mapping[str, Any], _change: Any, **_: Any) -> None:
        self._note("find_one_and_update", wanted)

    async def distinct(self, _field: str, wanted: Mapping[str, Any]) -> list[str]:
        self._note("distinct", wanted)
        return []

    async def count_documents(self, wanted: Mapping[str, Any], *, limit: int = 0) -> int:
        self._note("count_documents", wanted)
        return 0

    async def bulk_write(self, changes: Sequence[Any], *, ordered: bool = True) -> None:
        for change in changes:
            self._note("bulk_write", change._filter)
        if self._mood == MOODS[1] and not self._refused:
            self._refused = True
            raise BulkWriteError({"writeErrors": [{"code": 11_000}]})

    def _conflict(self, document: dict[str, Any]) -> None:
        if self._mood == MOODS[1] and not self._refused:
            self._written, self._refused = document, True
            raise DuplicateKeyError("somebody else was first")


class Connection:
    """Stands where ``MongoConnection`` stands."""

    def __init__(self, mood: str) -> None:
        self._mood = mood
        self.queries: list[Query] = []

    def collection(self, name: str) -> Collection:
        return Collection(name, self._mood, self.queries)

    async def answer(self, ask: Callable[[], Awaitable[Any]], *, repeat: bool = True) -> Any:
        return await ask()

    async def ping(self) -> None:
        """Asks nothing of a collection."""


def stores() -> dict[str, type]:
    """By the attribute under which the database has them."""
    return {
        name: kind for name, kind in typing.get_type_hints(MongoDatabase).items() if kind.__module__.startswith("repo.")
    }


async def queries_of(store: type) -> list[Query]:
    """All of a store's, over its public methods."""
    asked: list[Query] = []
    for name, method in inspect.getmembers(store, inspect.iscoroutinefunction):
        if name.startswith("_"):
            continue
        for mood, values in product(MOODS, _calls(method)):
            connection = Connection(mood)
            with suppress(DamagedDocumentError, KeyError, ValueError):
                await getattr(store(connection), name)(**values)
            asked += connection.queries
    return asked


def call_sites(store: type) -> Iterator[tuple[str, str, range]]:
    """Where the store's module asks something of a collection: (file, operation, lines)."""
    file = inspect.getfile(store)
    for node in ast.walk(ast.parse(Path(file).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in OPERATIONS:
            yield file, node.func.attr, range(node.lineno, (node.end_lineno or node.lineno) + 1)


# ---- arguments


def _calls(method: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """Arguments by name: every number small or large, shapes bare or full, what is optional left out or given, and
    None where it may be."""
    hints = typing.get_type_hints(method, include_extras=True)
    parameters = [one for name, one in inspect.signature(method).parameters.items() if name != "self"]
    needed = [one.name for one in parameters if one.default is inspect.Parameter.empty]
    optional = [one.name for one in parameters if one.default is not inspect.Parameter.empty]
    may_be_none = [name for name in needed if types.NoneType in get_args(hints[name])]
    given = [[], optional, *([name] for name in optional)]
    for number, full, more, none in product((0, 1), (False, True), given, ([], may_be_none) if may_be_none else ([],)):
        said = {name: example(hints[name], number, full=full) for name in (*needed, *more)}
        yield said | dict.fromkeys(none)


def example(hint: Any, number: int, *, full: bool) -> Any:
    """A value of this type that can be stored."""
    origin, arguments = get_origin(hint), get_args(hint)
    plain: dict[Any, Any] = {str: "x1", int: number, float: 1.0, bool: True, types.NoneType: None}
    if hint in plain:
        return plain[hint]
    if origin is Annotated:
        return example(arguments[0], number, full=full)
    if origin in (types.UnionType, typing.Union):
        return example(next(arm for arm in arguments if arm is not types.NoneType), number, full=full)
    if origin is typing.Literal:
        return arguments[0]
    if origin is tuple and Ellipsis not in arguments:
        return tuple(example(one, number, full=full) for one in arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {example(arguments[0], number, full=full): example(arguments[1], number, full=full)}
    if origin is Callable:  # the collections' abc, of both spellings
        return lambda *_: None
    if origin is not None:  # a tuple of any length, a set, any iterable
        return (example(arguments[0], number, full=full),)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    assert is_dataclass(hint), f"say here what an example of {hint} is"
    return _shape(hint, number, full=full)


def _shape(kind: Any, number: int, *, full: bool) -> Any:
    hints = typing.get_type_hints(kind, include_extras=True)
    wanted = [one for one in fields(kind) if full or (one.default is MISSING and one.default_factory is MISSING)]
    values = {one.name: example(hints[one.name], 1, full=False) for one in wanted}
    counted = hints.get("version") is int  # a document of a later version than any argument
    return kind(**values | ({"version": 5} if counted else {}))
