"""Expressions on a record's value: the part of JMESPath that can't grow, checked before any record is looked at.

Whoever may ask for a replay writes them, and each is evaluated once a record. So an expression only takes a value apart
and compares: what builds values (``[@, @]`` twice as large at each step) is refused, and so is what is iterated other
than the value itself. Then its time is at most its own size times the value's.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jmespath  # type: ignore[import-untyped]  # ships no types
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]

from operations.core.printable import printable

LENGTH_MAX = 500
SIGNS_MAX = 40
PARTS_MAX = 60
DEPTH_MAX = 16
TEXTS_MAX = 2  # to_string: each more would escape the escapes of the one before
EXPRESSIONS_MAX = 20

# None of them returns more than it was given, but for to_string; nor calls an expression for each member.
FUNCTIONS = (
    "contains", "ends_with", "keys", "length", "not_null", "starts_with", "to_number", "to_string", "type",
)  # fmt: skip
_NESTING = frozenset("([{!&|*?`")
_PARTS = frozenset(
    {
        "and_expression", "comparator", "current", "field", "filter_projection", "flatten", "function_expression",
        "identity", "index", "index_expression", "literal", "not_expression", "or_expression", "pipe", "projection",
        "slice", "subexpression", "value_projection",
    }
)  # fmt: skip
_REFUSED = {
    "multi_select_list": "it builds a list ([a, b])",
    "multi_select_dict": "it builds an object ({a: b})",
    "expref": "it passes an expression on (&)",
}
# What an expression that fits does to a value of another form: then it is not true of that record.
_OTHER_FORM = (JMESPathError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError)


class Expression:
    """One, compiled and checked."""

    __slots__ = ("_compiled",)

    def __init__(self, text: str) -> None:
        """Raises ValueError with words that follow "--where"."""
        self._compiled = _compiled(text)

    def is_true(self, value: Any) -> bool:
        """Of plain data. As JMESPath means it: 0 is true, what is empty is not."""
        try:
            found = self._compiled.search(value)
        except _OTHER_FORM:
            return False
        return found is not None and found is not False and found not in ("", [], {})


def expressions(texts: Sequence[str]) -> list[Expression]:
    """Raises ValueError, as ``Expression``."""
    if len(texts) > EXPRESSIONS_MAX:
        raise ValueError(f"is said {len(texts):,} times: {EXPRESSIONS_MAX} are enough, or join them with ||.")
    return [Expression(text) for text in texts]


def _compiled(text: str) -> Any:
    if len(text) > LENGTH_MAX:
        raise ValueError(f"{text[:40]!r}… has {len(text):,} characters: {LENGTH_MAX} are the most.")
    # The parser calls itself for each of these, so they are counted before it is asked.
    if sum(one in _NESTING for one in text) > SIGNS_MAX:
        raise ValueError(f"{text[:40]!r}… is nested too much: say less, or several times --where.")
    try:
        compiled = jmespath.compile(text)
    except JMESPathError as error:
        raise ValueError(f"{text!r} is no JMESPath expression: {printable(' '.join(str(error).split()))}") from None
    except (RecursionError, MemoryError, ValueError):
        raise ValueError(f"{text[:40]!r}… is nested too much, or holds a number that is too large.") from None
    problem = _problem(compiled.parsed)
    if problem is not None:
        raise ValueError(f"{text!r} can't be used here: {problem}.")
    return compiled


def _problem(tree: dict[str, Any]) -> str | None:
    """Why this tree is refused, if it is."""
    texts = 0
    for parts, (node, depth, above) in enumerate(_walk(tree), 1):
        if parts > PARTS_MAX or depth > DEPTH_MAX:
            return "it has too many parts"
        problem = _problem_of(node, above)
        if problem is not None:
            return problem
        texts += node.get("value") == "to_string" and node["type"] == "function_expression"
    return "to_string is in it too often" if texts > TEXTS_MAX else None


def _problem_of(node: dict[str, Any], above: dict[str, Any] | None) -> str | None:
    kind = node["type"]
    if kind not in _PARTS:
        return f"{_REFUSED.get(kind, 'it builds values')}; name members, compare, and filter"
    if kind == "function_expression" and node["value"] not in FUNCTIONS:
        return f"there is no function {printable(node['value'])} here; there are {', '.join(FUNCTIONS)}"
    if kind == "literal" and isinstance(node["value"], list | dict) and not _may_have_members(node, above):
        return "a list or an object may only be compared with, or searched by contains; and hold no further ones"
    return None


def _may_have_members(literal: dict[str, Any], above: dict[str, Any] | None) -> bool:
    """Elsewhere it could be gone through for each member of another, and that for each of a third."""
    members = literal["value"].values() if isinstance(literal["value"], dict) else literal["value"]
    if above is None or any(isinstance(one, list | dict) for one in members):
        return False
    return above["type"] == "comparator" or (above["type"], above.get("value")) == ("function_expression", "contains")


def _walk(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int, dict[str, Any] | None]]:
    """Each part, how deep it is, and what it is in; without calling itself, for trees of any depth."""
    left: list[tuple[dict[str, Any], int, dict[str, Any] | None]] = [(tree, 1, None)]
    while left:
        node, depth, above = left.pop()
        yield node, depth, above
        if node["type"] != "slice":  # whose members are numbers
            left += [(one, depth + 1, node) for one in node["children"]]
