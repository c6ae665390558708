"""What a PromQL expression asks for: its selectors and the labels that it groups by.

No more of the language than the rules use.
"""

import re
from dataclasses import dataclass

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'^\s*(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*$')
_RANGE = re.compile(r"\[[^\]]*\]")
_OTHER_HALF = {")": "(", "]": "[", "}": "{"}
_WORDS = frozenset({"and", "or", "unless", "bool", "offset"})


@dataclass(frozen=True)
class Matcher:
    label: str
    how: str
    value: str

    @property
    def values(self) -> tuple[str, ...]:
        """The alternatives of a plain list; none for a pattern."""
        parts = tuple(self.value.split("|")) if "~" in self.how else (self.value,)
        return tuple(part for part in parts if re.escape(part).replace("\\-", "-") == part)


@dataclass(frozen=True)
class Selector:
    name: str
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True)
class Asked:
    """``labels``: those that are grouped or joined by."""

    selectors: tuple[Selector, ...]
    labels: frozenset[str]


def read(expr: str) -> Asked:
    """Fails on what it can't read: a matcher of a form that it does not know, a bracket without its other half."""
    labels = {label.strip() for _, listed in _GROUPING.findall(expr) for label in listed.split(",") if label.strip()}
    strings: list[str] = []

    def keep(found: re.Match[str]) -> str:
        strings.append(found[0])
        return f"@{len(strings) - 1}@"  # no brace and no comma of a string is one of the language

    _check_brackets(_STRING.sub("", expr))
    plain = _RANGE.sub("", _GROUPING.sub(" ", _STRING.sub(keep, expr)))
    selectors = []
    for name, listed in _SELECTOR.findall(plain):
        if name not in _WORDS:
            matchers = tuple(_matcher(one, strings) for one in listed.split(",") if one.strip())
            selectors.append(Selector(name, matchers))
    return Asked(tuple(selectors), frozenset(labels))


def _check_brackets(plain: str) -> None:
    opened: list[str] = []
    for sign in plain:
        if sign in _OTHER_HALF.values():
            opened.append(sign)
        elif sign in _OTHER_HALF:
            assert opened, f"nothing opens {sign}"
            assert opened.pop() == _OTHER_HALF[sign], f"{sign} closes another bracket"
    assert not opened, f"nothing closes {opened}"


def _matcher(text: str, strings: list[str]) -> Matcher:
    full = re.sub(r"@(\d+)@", lambda found: strings[int(found[1])], text)
    found = _MATCHER.match(full)
    assert found is not None, f"no matcher: {full}"
    return Matcher(found[1], found[2], found[3])
