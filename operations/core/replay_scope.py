"""Which records of a source are meant: by time, place, key, user, job, type, header, or an expression on the value.

Tests on headers come before those that need the value, which is parsed only where one asks for it. An option that is
given several times means any of them; different options all hold.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from operations.core.replay_records import Headers
from operations.core.replay_types import is_of_type
from operations.core.replay_where import Expression, expressions
from schemas.replays import MOST_REPLAYS

Test = Callable[[bytes | None, bytes | None, Headers], str | None]
_SEVERAL = frozenset({"--partition", "--key", "--user", "--job", "--type", "--header", "--where"})
UNREADABLE = "its value is no JSON object"


class BadScope(ValueError):
    """An option that means nothing; says which and why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A replay as it is asked for: names are canonical, times are words. ``chosen``: these records (partition, offset)
    and no others; for callers that have looked at them."""

    source: str
    target: str
    since: str | None = None
    until: str | None = None
    first_offset: int | None = None
    end_offset: int | None = None
    partitions: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    max_replays: int = MOST_REPLAYS
    chosen: tuple[tuple[int, int], ...] | None = None

    def words(self) -> dict[str, str]:
        """All that was said, by the option's name."""
        several = {
            "--partition": self.partitions, "--key": self.keys, "--user": self.users, "--job": self.jobs,
            "--type": self.types, "--header": self.headers, "--where": self.where,
        }  # fmt: skip
        single = {
            "--from": self.since, "--to": self.until, "--from-offset": self.first_offset,
            "--to-offset": self.end_offset, "--max-replays": self.max_replays,
        }  # fmt: skip
        said = {"source": self.source, "--into": self.target}
        said |= {name: str(value) for name, value in single.items() if value is not None}
        said |= {name: orjson.dumps(sorted(values)).decode() for name, values in several.items() if values}
        if self.chosen is not None:
            said["chosen"] = f"{len(self.chosen)} records {digest(sorted(self.chosen))}"
        return said

    def digest(self) -> str:
        """The same for the same words, in whatever order they were said."""
        return digest(self.words())


def as_typed(words: Mapping[str, str]) -> str:
    """Of ``Asked.words`` the options, so that they can be typed again in a shell; without the target."""
    said = [(name, value) for name, value in words.items() if name.startswith("--") and name != "--into"]
    each = [(name, one) for name, value in said for one in (orjson.loads(value) if name in _SEVERAL else (value,))]
    return " ".join(f"{name} {_quoted(str(one))}" for name, one in each)


def _quoted(text: str) -> str:
    """For a shell; expressions have single quotes, and stay legible in double ones."""
    return f'"{text}"' if "'" in text and not set(text) & set('"$`\\!') else shlex.quote(text)


def asked_in(words: Mapping[str, str], chosen: tuple[tuple[int, int], ...] | None = None) -> Asked:
    """What ``Asked.words`` were the words of."""
    several = {
        "partitions": "--partition", "keys": "--key", "users": "--user", "jobs": "--job", "types": "--type",
        "headers": "--header", "where": "--where",
    }  # fmt: skip
    lists = {name: tuple(orjson.loads(words[option])) for name, option in several.items() if option in words}
    first, end = (words.get(option) for option in ("--from-offset", "--to-offset"))
    return Asked(
        source=words["source"],
        target=words["--into"],
        since=words.get("--from"),
        until=words.get("--to"),
        first_offset=None if first is None else int(first),
        end_offset=None if end is None else int(end),
        max_replays=int(words["--max-replays"]),
        chosen=chosen,
        **lists,
    )


def chosen_words(places: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """Records named one by one, as they are stored: ``partition/offset``, or ``partition/first-last``, because there
    may be fifty thousand of them, and most lie beside each other."""
    runs: list[list[int]] = []
    for partition, offset in sorted(set(places)):
        if runs and runs[-1][0] == partition and runs[-1][2] == offset - 1:
            runs[-1][2] = offset
        else:
            runs.append([partition, offset, offset])
    return tuple(f"{at}/{first}" if first == last else f"{at}/{first}-{last}" for at, first, last in runs)


def chosen_places(words: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """What ``chosen_words`` were made of, in order."""
    found: list[tuple[int, int]] = []
    for word in words:
        partition, _, offsets = word.partition("/")
        first, _, last = offsets.partition("-")
        found += [(int(partition), offset) for offset in range(int(first), int(last or first) + 1)]
    return tuple(found)


def digest(value: Any) -> str:
    """Of plain data."""
    return blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def checks_of(asked: Asked) -> list[Test]:
    """What a record has to pass; each says why not, or None. Raises ``BadScope``."""
    tests: list[Test] = []
    if asked.types:
        types = asked.types
        tests.append(lambda _k, _v, headers: None if is_of_type(types, header(headers, "ce_type")) else "another type")
    for name, wanted in _headers(asked.headers).items():
        tests.append(_header_test(name, wanted))
    if asked.keys:
        keys = {one.encode() for one in asked.keys}
        tests.append(lambda key, _v, _h: None if key in keys else "another key")
    if asked.jobs:
        jobs = set(asked.jobs)
        tests.append(lambda _k, value, headers: _about(jobs, "jobId", value, headers, "another job"))
    if asked.users:
        users = set(asked.users)
        tests.append(lambda key, value, _h: _of_user(users, key, value))
    if asked.where:
        conditions = _conditions(asked.where)
        tests.append(lambda _k, value, _h: _where(conditions, value))
    return tests


def header(headers: Headers, name: str) -> str | None:
    """The first of that name, as text."""
    for one, value in headers:
        if one == name:
            return value.decode("utf-8", "replace") if value is not None else None
    return None


def _headers(said: Sequence[str]) -> Mapping[str, set[bytes]]:
    found: dict[str, set[bytes]] = {}
    for one in said:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise BadScope(f"--header {one!r}: say NAME=VALUE.")
        found.setdefault(name, set()).add(value.encode())
    return found


def _header_test(name: str, wanted: set[bytes]) -> Test:
    def test(_key: bytes | None, _value: bytes | None, headers: Headers) -> str | None:
        has = any(one == name and value in wanted for one, value in headers)
        return None if has else "another header"

    return test


def _about(jobs: set[str], member: str, value: bytes | None, headers: Headers, otherwise: str) -> str | None:
    if header(headers, "ce_subject") in jobs:
        return None
    data = _json(value)
    if data is None:
        return UNREADABLE
    return None if data.get(member) in jobs else otherwise


def _of_user(users: set[str], key: bytes | None, value: bytes | None) -> str | None:
    """The key of commands and events is the user; elsewhere the value names them."""
    if key is not None and key.decode("utf-8", "replace") in users:
        return None
    data = _json(value)
    if data is None:
        return UNREADABLE
    return None if data.get("userId") in users else "another user"


def _conditions(said: Sequence[str]) -> list[Expression]:
    try:
        return expressions(said)
    except ValueError as error:
        raise BadScope(f"--where {error}") from None


def _where(conditions: Sequence[Expression], value: bytes | None) -> str | None:
    data = _json(value)
    if data is None:
        return UNREADABLE
    return None if any(one.is_true(data) for one in conditions) else "the expression is not true of it"


def _json(value: bytes | None) -> dict[str, Any] | None:
    if not value:
        return None
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None
