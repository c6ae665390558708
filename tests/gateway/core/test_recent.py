"""What is forgotten, and in which order."""

from gateway.core.recent import Recent


def test_what_was_set_longest_ago_is_forgotten_first() -> None:
    known: Recent[str, int] = Recent(2)
    for name, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        known[name] = value
    assert list(known.items()) == [("a", 3), ("c", 4)]


def test_reading_keeps_nothing_and_what_was_taken_out_makes_room() -> None:
    known: Recent[str, int] = Recent(2)
    known["a"], known["b"] = 1, 2
    assert (known.get("a"), known["a"], known.pop("b"), known.pop("b", None)) == (1, 1, 2, None)
    known["c"], known["d"] = 3, 4
    assert list(known) == ["c", "d"]
