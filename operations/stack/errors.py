"""The one exception of the embedded stack that a person is meant to read."""


class StackError(Exception):
    """What happened and what to do about it, in a sentence or two. The command line prints it without a traceback."""


def last_words(text: str, limit: int = 300) -> str:
    """The last line of a program's output that says something, at most ``limit`` characters of it."""
    for line in reversed(text.splitlines()):
        if line.strip():
            return line.strip()[:limit]
    return "it printed nothing"
