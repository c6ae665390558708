"""The header's syntax holds whatever a file is called."""

import re

from hypothesis import given
from hypothesis import strategies as st

from repo.core.dispositions import attachment

HEADER = re.compile(r"""attachment; filename="[ -!#-\[\]-~]+"; filename\*=UTF-8''[A-Za-z0-9!#$&+^`|._~%-]+""")


@given(st.text(max_size=40))
def test_no_name_breaks_the_header(name: str) -> None:
    assert HEADER.fullmatch(attachment(name))


def test_a_plain_name_stays_as_it_is() -> None:
    assert attachment("corgi.mp4") == "attachment; filename=\"corgi.mp4\"; filename*=UTF-8''corgi.mp4"


def test_folders_and_nothing_are_no_names() -> None:
    assert attachment("../../etc/passwd").startswith('attachment; filename=".._.._etc_passwd"')
    assert attachment("\n").startswith('attachment; filename="file"')
