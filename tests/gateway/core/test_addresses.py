"""From where a connection comes."""

import pytest

from gateway.core.addresses import is_proxy, place_of


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:DB8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("testclient", "testclient"),
        ("x" * 500, "x" * 64),
        ("", ""),
        (None, ""),
    ],
)
def test_a_limit_counts_by_place(host: str | None, place: str) -> None:
    assert place_of(host) == place


def test_proxies_are_addresses_and_networks() -> None:
    assert all(map(is_proxy, ["10.0.0.7", "10.0.0.0/24", "::1", "2001:db8::/32"]))
    assert not any(map(is_proxy, ["*", "", "localhost", "10.0.0.7/24", "10.0.0.0/33", "10.0.0"]))
