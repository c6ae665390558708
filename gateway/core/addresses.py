"""From where a connection comes, as far as limits go."""

from ipaddress import IPv6Address, ip_address, ip_network


def place_of(host: str | None) -> str:
    """What a limit counts by: an IPv4 address, the /64 of an IPv6 address (one customer's), else the text as it is."""
    if host is None:
        return ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address, 64), strict=False))
    return str(address)


def is_proxy(text: str) -> bool:
    """Whether this names an address or a network, as a list of trusted proxies must."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
