"""The headers of replayed records."""

import pytest

from schemas.replays import COUNT, HEADERS, ORIGIN, Replayed, replayed

MARK = Replayed("r-1", "openv.commands", 3, 41, 1_773_144_000_123, 2)


def test_what_is_written_is_read() -> None:
    assert replayed((("ce_id", b"x"), *MARK.headers())) == MARK
    assert MARK.origin == "openv.commands/3/41"
    assert {name for name, _ in MARK.headers()} == HEADERS


@pytest.mark.parametrize(
    "headers",
    [
        (),
        MARK.headers()[:3],
        (*(one for one in MARK.headers() if one[0] != COUNT), (COUNT, b"many")),
        (*(one for one in MARK.headers() if one[0] != COUNT), (COUNT, b"-1")),
        (*(one for one in MARK.headers() if one[0] != ORIGIN), (ORIGIN, b"openv.commands")),
        (*(one for one in MARK.headers() if one[0] != ORIGIN), (ORIGIN, b"/1/2")),
        (*(one for one in MARK.headers() if one[0] != ORIGIN), (ORIGIN, "t/１/2".encode())),
    ],
)
def test_what_we_do_not_write_is_no_replay(headers: tuple[tuple[str, bytes], ...]) -> None:
    assert replayed(headers) is None
