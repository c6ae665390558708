"""The share that an endpoint has of the polls at a gateway."""

from gateway.core.poll_places import PollPlaces


def _fill(places: PollPlaces, endpoint_id: str) -> int:
    count = 0
    while not places.is_full(endpoint_id):
        places.take(endpoint_id)
        count += 1
    return count


def test_no_endpoint_fills_all_places() -> None:
    places = PollPlaces(10_000)
    assert _fill(places, "a") == 8_000
    assert _fill(places, "b") == 1_600
    assert _fill(places, "c") > 0
    assert len(places) <= 10_000


def test_places_that_are_left_are_free_again() -> None:
    places = PollPlaces(1)
    assert _fill(places, "a") == 1
    assert places.is_full("b")
    places.leave("a")
    assert _fill(places, "b") == 1
    assert len(places) == 1
