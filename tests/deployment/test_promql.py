"""The reader of expressions, which the tests of the rules rest on."""

import pytest

from tests.deployment.promql import read


def test_selectors_matchers_and_groupings_are_found() -> None:
    asked = read(
        'histogram_quantile(0.99, sum by (le, pool) (rate(a_bucket{code=~"4001|x.+",s!="a,}b"}[5m] offset 1h)))\n'
        "> 0.05 * count(b_total) and on (role) absent(c)"
    )
    assert [one.name for one in asked.selectors] == ["a_bucket", "b_total", "c"]
    (first, second) = asked.selectors[0].matchers
    assert (first.label, first.how, first.values) == ("code", "=~", ("4001",))
    assert (second.label, second.value) == ("s", "a,}b")
    assert asked.labels == {"le", "pool", "role"}


def test_what_it_cannot_read_fails() -> None:
    with pytest.raises(AssertionError, match="no matcher"):
        read("a{b}")


@pytest.mark.parametrize("expr", ["sum by (a) (rate(b[5m])", "rate(b[5m)]", "b)", 'a{b="c"'])
def test_a_bracket_without_its_other_half_fails(expr: str) -> None:
    with pytest.raises(AssertionError):
        read(expr)
