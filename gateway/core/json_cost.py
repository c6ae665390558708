"""What a JSON text costs to read, told from its bytes: 20 MB of ``[],`` are 600 MB once they are read, and seconds.

A list or object costs as much as eight numbers, a member of an object as much as four. What strings hold is free.
"""

COST_MAX = 2_000_000  # read in a fraction of a second; ten megabytes of floats
LIST, MEMBER, VALUE = 8, 4, 1
_SLICE = 1024 * 1024


def is_too_costly(text: bytes) -> bool:
    """Whether it would stop everybody else for too long if it were read. For what is no JSON: before it proves so."""
    return _cost(text) > COST_MAX and _is_costly_outside_strings(text)


def _cost(text: bytes) -> int:
    return LIST * (text.count(b"[") + text.count(b"{")) + MEMBER * text.count(b":") + VALUE * text.count(b",")


def _is_costly_outside_strings(text: bytes) -> bool:
    """Slice by slice, until it is known: a string may hold anything, JSON too."""
    if b"\\" in text:
        text = text.replace(rb"\\", b"").replace(rb"\"", b"")  # then every quote begins or ends a string
    cost, inside = 0, 0
    for at in range(0, len(text), _SLICE):
        pieces = text[at : at + _SLICE].split(b'"')
        cost += _cost(b"".join(pieces[inside::2]))
        if cost > COST_MAX:
            return True
        inside ^= (len(pieces) - 1) & 1
    return False
