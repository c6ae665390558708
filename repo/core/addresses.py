"""Where a stranger's URL may lead: the form of the URL, and which addresses are the public internet.

Addresses are allowed, not forbidden, by what they are: IPv4 that IANA's registries call global, IPv6 of 2000::/3; from
both is taken what reaches other addresses (relays, translators) or a cloud's own services. An IPv4 address inside an
IPv6 one counts as what it is. Names are judged by the addresses they resolve to, see ``repo/outgoing.py``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

Network = IPv4Network | IPv6Network
URL_MAX = 2048
PORTS = frozenset({80, 443})
FIRST_FREE_PORT = 1024  # below it live servers that speak other protocols

_FORBIDDEN_V4 = tuple(
    IPv4Network(one)
    for one in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT, and a cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's own services, at a public address
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_FORBIDDEN_V6 = tuple(
    IPv6Network(one)
    for one in (
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4: any IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_HOST = re.compile(r"(?=.{1,254}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")  # RFC 1035, section 2.3.1, and _
_AUTHORITY_END = re.compile(r"[/?#]")
_MAPPED = IPv6Network("::ffff:0:0/96")
_TRANSLATED = IPv6Network("64:ff9b::/96")  # NAT64: how networks without IPv4 reach public IPv4 addresses


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator allows besides: plain HTTP, and networks that are not the public internet."""

    allow_http: bool = False
    networks: tuple[Network, ...] = ()


def read_networks(text: str) -> tuple[Network, ...]:
    """Networks in CIDR form with commas between them. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_allowed(address: str, rules: Rules) -> bool:
    """Whether a connection may be made to this IP address, as the system writes it. What can't be read is not."""
    try:
        found = _unwrapped(ip_address(address))
    except ValueError:
        return False
    return _within(found, rules.networks) or _is_public(found)


def wrong_with(url: str, rules: Rules) -> str | None:
    """What is wrong with the URL of an endpoint, as words that follow its name; None where nothing is."""
    if len(url) > URL_MAX:
        return f"must be at most {URL_MAX} characters"
    if not url.isprintable() or any(one.isspace() for one in url) or "\\" in url:
        return "must not contain spaces, backslashes or control characters"
    try:
        read = URL(url)
        host, port = read.host, read.port
    except ValueError:
        return "must be a URL"
    if read.scheme != "https" and not (read.scheme == "http" and rules.allow_http):
        return "must begin with https://"
    if not host or not read.absolute or not (_is_address(host) or _HOST.fullmatch(read.raw_host or "")):
        return "must name a host"
    if _is_odd_number(host):
        return "must write an IP address out, as 192.0.2.1 or [2001:db8::1]"
    if "@" in _AUTHORITY_END.split(url.partition("://")[2], maxsplit=1)[0]:
        return "must not carry a user or a password"
    if "#" in url:
        return "must not have a fragment"
    if port is None or (port not in PORTS and port < FIRST_FREE_PORT):
        return f"must use port 80, 443, or one from {FIRST_FREE_PORT} on"
    return None


def wrong_at_sight(url: str, rules: Rules) -> str | None:
    """As ``wrong_with``, with what needs no lookup besides: a host that is an address must be one that is allowed.

    ``localhost`` and names under it are the loopback address (RFC 6761, section 6.3).
    """
    wrong = wrong_with(url, rules)
    if wrong is not None:
        return wrong
    host = (URL(url).host or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        host = "127.0.0.1"
    return None if is_allowed(host, rules) or not _is_address(host) else "must lead to a public address"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_odd_number(host: str) -> bool:
    """Whether the host is an IPv4 address in a spelling that one reader takes for a name and the next for a number."""
    last = host.rstrip(".").rpartition(".")[2]
    if not (last.isdecimal() or last.lower().startswith("0x")):
        return False
    try:
        return str(ip_address(host)) != host
    except ValueError:
        return True


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _TRANSLATED):
        return IPv4Address(address.packed[-4:])
    return address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not _within(address, _FORBIDDEN_V4)
    return address.scope_id is None and address in _GLOBAL_V6 and not _within(address, _FORBIDDEN_V6)


def _within(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
