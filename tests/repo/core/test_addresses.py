"""Where a stranger's URL may lead, by table."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repo.core.addresses import Rules, is_allowed, read_networks, wrong_at_sight, wrong_with

PUBLIC = ("8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:830::200e", "64:ff9b::808:808")
NOT_PUBLIC = (
    "0.0.0.0",  # noqa: S104 -- a name to judge, nothing is bound here
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "",
    "localhost",
    "2130706433",
    "0x7f.1",
    "127.1",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_allowed(address: str) -> None:
    assert is_allowed(address, Rules())


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_nothing_else_is(address: str) -> None:
    assert not is_allowed(address, Rules())


@given(st.ip_addresses(v=4))
def test_an_address_inside_an_ipv6_one_is_judged_as_what_it_is(address: IPv4Address) -> None:
    expected = is_allowed(str(address), Rules())
    mapped = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    translated = IPv6Address(IPv6Address("64:ff9b::").packed[:12] + address.packed)
    assert is_allowed(str(mapped), Rules()) is expected
    assert is_allowed(str(translated), Rules()) is expected
    assert not is_allowed(str(IPv6Address(b"\x20\x02" + address.packed + b"\0" * 10)), Rules()), "6to4"


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_allowed(address: IPv4Address | IPv6Address) -> None:
    inside = getattr(address, "ipv4_mapped", None) or address
    if is_allowed(str(address), Rules()) and address not in read_networks("64:ff9b::/96")[0]:
        assert inside.is_global
        for kind in ("is_multicast", "is_loopback", "is_link_local", "is_reserved"):
            assert not getattr(inside, kind), kind


def test_an_operator_may_allow_networks() -> None:
    rules = Rules(networks=read_networks("10.1.0.0/16, fd00:1::/32"))
    assert is_allowed("10.1.2.3", rules)
    assert is_allowed("::ffff:10.1.2.3", rules)
    assert is_allowed("fd00:1::5", rules)
    assert not is_allowed("10.2.0.1", rules)
    assert is_allowed("8.8.8.8", rules)
    assert read_networks("") == ()
    for wrong in ("10.0.0.1/8", "ten", "10.0.0.0/33"):
        with pytest.raises(ValueError, match=r"host bits|does not appear"):
            read_networks(wrong)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org/hooks?token=x",
        "https://example.org:8443/",
        "https://8.8.8.8/x",
        "https://[2606:4700:4700::1111]:443/x",
        "https://bücher.example/x",
    ],
)
def test_urls_that_are_well_formed(url: str) -> None:
    assert wrong_with(url, Rules()) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.org/", "must begin with https://"),
        ("ftp://example.org/", "must begin with https://"),
        ("gopher://example.org/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("//example.org/", "must begin with https://"),
        ("example.org", "must begin with https://"),
        ("", "must begin with https://"),
        ("https:///x", "must name a host"),
        ("https://user@example.org/", "must not carry a user or a password"),
        ("https://user:secret@example.org/", "must not carry a user or a password"),
        ("https://@example.org/", "must not carry a user or a password"),
        ("https://example.org/#x", "must not have a fragment"),
        ("https://example.org:22/", "must use port 80, 443, or one from 1024 on"),
        ("https://example.org:0/", "must use port 80, 443, or one from 1024 on"),
        ("https://example.org/a b", "must not contain spaces, backslashes or control characters"),
        ("https://example.org/\r\nX-Header: 1", "must not contain spaces, backslashes or control characters"),
        ("https://example.org\\@127.0.0.1/", "must not contain spaces, backslashes or control characters"),
        ("https://2130706433/", "must write an IP address out, as 192.0.2.1 or [2001:db8::1]"),
        ("https://0x7f000001/", "must write an IP address out, as 192.0.2.1 or [2001:db8::1]"),
        ("https://0177.0.0.1/", "must write an IP address out, as 192.0.2.1 or [2001:db8::1]"),
        ("https://127.1/", "must write an IP address out, as 192.0.2.1 or [2001:db8::1]"),
        ("https://8.8.8.8./", "must write an IP address out, as 192.0.2.1 or [2001:db8::1]"),
        ("https://example.org:99999/", "must be a URL"),
        ("https://[::1/", "must be a URL"),
        ("https://example.org/" + "x" * 2048, "must be at most 2048 characters"),
    ],
)
def test_urls_that_are_not(url: str, words: str) -> None:
    assert wrong_with(url, Rules()) == words


@pytest.mark.parametrize(
    "host", ["..example.org", "...", "a..b", f"{'a' * 64}.org", "a." * 130 + "org", "ex%0d%0aample.org"]
)
def test_what_is_no_host_name(host: str) -> None:
    assert wrong_with(f"https://{host}/", Rules()) in ("must name a host", "must be a URL")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "app.localhost"])
def test_the_names_of_the_loopback_are_judged_at_sight(host: str) -> None:
    assert wrong_at_sight(f"https://{host}/", Rules()) == "must lead to a public address"
    assert wrong_at_sight(f"https://{host}/", Rules(networks=read_networks("127.0.0.0/8"))) is None


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1%25eth0", "64:ff9b::7f00:1"])
def test_an_address_for_a_host_is_judged_at_sight(address: str) -> None:
    url = f"https://{f'[{address}]' if ':' in address else address}/"
    assert wrong_with(url, Rules()) is None
    assert wrong_at_sight(url, Rules()) == "must lead to a public address"
    assert wrong_at_sight(url, Rules(networks=read_networks("10.0.0.0/8,127.0.0.0/8,::1/128,fe80::/10"))) is None


def test_what_else_is_judged_at_sight() -> None:
    for url in ("https://8.8.8.8/", "https://[2606:4700:4700::1111]:443/x", "https://10.example"):
        assert wrong_at_sight(url, Rules()) is None
    for url in ("http://10.0.0.1/", "https://127.1/", "https://u@10.0.0.1/"):
        assert wrong_at_sight(url, Rules()) == wrong_with(url, Rules())


def test_http_where_an_operator_allows_it() -> None:
    assert wrong_with("http://example.org/", Rules(allow_http=True)) is None
    assert wrong_with("ftp://example.org/", Rules(allow_http=True)) == "must begin with https://"


@given(st.text(max_size=60))
def test_any_text_is_judged(text: str) -> None:
    wrong_with(f"https://{text}", Rules())
    wrong_with(text, Rules())
    wrong_at_sight(f"https://{text}", Rules())
    is_allowed(text, Rules())
