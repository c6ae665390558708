"""Numbers of things in words."""


def several(count: int, one: str, many: str = "") -> str:
    """``1 letter``, ``2 letters``, ``1,234 letters``. ``many``: where it is not ``one`` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
