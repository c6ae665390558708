"""Strategies for every message and document, read from their type hints, bounds included."""

import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import hypothesis.strategies as st
from pydantic import AfterValidator, StringConstraints
from pydantic.fields import FieldInfo

from schemas.accounts import Account
from schemas.codec import Message
from schemas.events import AccountEvent, JobEvent
from schemas.jobs import Job
from schemas.topics import TOPICS

MESSAGES: tuple[type, ...] = tuple(message for topic in TOPICS.values() for message in topic.messages)
EXACT = 2**53
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    int: st.integers(-EXACT, EXACT),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    NoneType: st.none(),
}


@cache
def anything(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type hint that our shapes use."""
    if hint in PLAIN:
        return PLAIN[hint]
    if get_origin(hint) is Annotated:
        return _bounded(*get_args(hint))
    if get_origin(hint) in (UnionType, typing.Union):
        return st.one_of([anything(arm) for arm in get_args(hint)])
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) is tuple:
        return st.lists(anything(get_args(hint)[0]), max_size=2).map(tuple)
    if get_origin(hint) is Mapping:
        return st.dictionaries(anything(str), anything(get_args(hint)[1]), max_size=2)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    assert is_dataclass(hint), f"the strategies do not know {hint}"
    hints = typing.get_type_hints(hint, include_extras=True)
    return st.builds(hint, **{field.name: anything(hints[field.name]) for field in fields(hint)})


def _bounded(plain: type, *rules: Any) -> st.SearchStrategy[Any]:
    bounds: dict[str, float] = {}
    for rule in rules:
        if isinstance(rule, StringConstraints):
            if rule.pattern is None:
                return PLAIN[str]
            return st.from_regex(str(rule.pattern).replace("$", r"\Z"))
        if isinstance(rule, AfterValidator):
            return PLAIN[str]
        if isinstance(rule, FieldInfo):
            for part in rule.metadata:
                bounds |= {name: getattr(part, name) for name in ("ge", "le") if hasattr(part, name)}
    if plain is int:
        return st.integers(int(bounds["ge"]), int(bounds["le"]))
    return st.floats(bounds["ge"], bounds["le"])


def anything_of(message: type) -> st.SearchStrategy[Message]:
    """Any message of the class, as it comes back from the log: an account's pending jobs stay behind."""
    if message is JobEvent:
        return anything(Job).map(JobEvent)
    if message is AccountEvent:
        return anything(Account).map(lambda account: AccountEvent(replace(account, pending={})))
    return anything(message)
