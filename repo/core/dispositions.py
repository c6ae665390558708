"""The Content-Disposition header that makes a browser save a file under a name (RFC 6266, RFC 8187)."""

from urllib.parse import quote

_UNRESERVED = "!#$&+^`|"  # of attr-char in RFC 8187, beside what quote() always leaves


def attachment(filename: str) -> str:
    """``attachment`` with the name twice: in ASCII for old readers, and as it is. No character can end the header."""
    name = "".join(character for character in filename if character.isprintable()).replace("/", "_") or "file"
    ascii_name = "".join(c if c.isascii() and c not in '"\\%;' else "_" for c in name)
    exact = quote(name, safe=_UNRESERVED, errors="replace")
    return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{exact}"
