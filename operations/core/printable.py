"""Text that others chose, as a terminal may be shown it: no worker's name or words may steer an operator's screen."""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text on one line, with a mark for each control character, turn of the writing direction or half character."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
