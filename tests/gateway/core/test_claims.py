"""Which claims are believed, to the millisecond, and that no claims whatever do harm."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.claims import TOKEN_MAX, Claims, Doubt, Expected, is_token, judge, key_id
from schemas.ids import is_name

ISSUER, PAGE, SKEW = "https://clerk.example.org", "https://videos.example.org", 5_000
EXPECTED = Expected(ISSUER, frozenset({PAGE}), SKEW)
IAT, EXP = 1_790_000_000, 1_790_000_060


def claims(**changes: Any) -> dict[str, Any]:
    said = {"sub": "user_1", "sid": "s", "iss": ISSUER, "azp": PAGE, "iat": IAT, "nbf": IAT, "exp": EXP}
    return {name: value for name, value in (said | changes).items() if value is not ...}


def test_they_are_believed_from_their_begin_to_their_end_and_a_skew_around() -> None:
    good = Claims("user_1", IAT * 1000, EXP * 1000)
    first, last = IAT * 1000 - SKEW, EXP * 1000 + SKEW - 1
    assert judge(claims(), EXPECTED, first - 1) is Doubt.EARLY
    assert judge(claims(), EXPECTED, first) == judge(claims(), EXPECTED, last) == good
    assert judge(claims(), EXPECTED, last + 1) is Doubt.EXPIRED
    exact = Expected(ISSUER, frozenset({PAGE}), 0)
    assert judge(claims(), exact, EXP * 1000) is Doubt.EXPIRED
    assert judge(claims(nbf=IAT - 10), exact, IAT * 1000 - 1) is Doubt.EARLY, "issued in the future"
    assert judge(claims(nbf=IAT + 10), exact, IAT * 1000) is Doubt.EARLY
    assert judge(claims(nbf=...), exact, IAT * 1000) == good


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"iss": ISSUER + "/"}, Doubt.ISSUER), ({"iss": ...}, Doubt.ISSUER), ({"iss": [ISSUER]}, Doubt.ISSUER),
        ({"azp": "https://evil.example.org"}, Doubt.PARTY), ({"azp": ""}, Doubt.PARTY), ({"azp": [PAGE]}, Doubt.PARTY),
        ({"azp": PAGE + ".evil.org"}, Doubt.PARTY), ({"azp": {}}, Doubt.PARTY),
        ({"aud": "other"}, Doubt.AUDIENCE), ({"aud": None}, Doubt.AUDIENCE),
        ({"sid": ...}, Doubt.SESSION), ({"sid": ""}, Doubt.SESSION), ({"sid": 1}, Doubt.SESSION),
        ({"sts": "pending"}, Doubt.PENDING),
        ({"sub": ...}, Doubt.SUBJECT), ({"sub": ""}, Doubt.SUBJECT), ({"sub": "../../x"}, Doubt.SUBJECT),
        ({"sub": "a/b"}, Doubt.SUBJECT), ({"sub": 7}, Doubt.SUBJECT), ({"sub": "x" * 129}, Doubt.SUBJECT),
        ({"exp": ...}, Doubt.TIMES), ({"exp": True}, Doubt.TIMES), ({"exp": str(EXP)}, Doubt.TIMES),
        ({"exp": float("inf")}, Doubt.TIMES), ({"exp": float("nan")}, Doubt.TIMES), ({"exp": 10**400}, Doubt.TIMES),
        ({"iat": ...}, Doubt.TIMES), ({"iat": -1}, Doubt.TIMES), ({"nbf": "soon"}, Doubt.TIMES),
    ],
)  # fmt: skip
def test_what_is_not_believed(change: dict[str, Any], doubt: Doubt) -> None:
    assert judge(claims(**change), EXPECTED, IAT * 1000) is doubt


def test_a_token_without_azp_is_taken_as_clerk_takes_it() -> None:
    assert isinstance(judge(claims(azp=...), EXPECTED, IAT * 1000), Claims)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
MEMBERS = ("sub", "sid", "iss", "azp", "iat", "nbf", "exp", "aud", "sts")


@given(st.dictionaries(st.sampled_from(MEMBERS), ANYTHING), st.integers(0, 2**42))
def test_whatever_they_say_it_is_an_answer_and_a_yes_only_where_all_holds(said: dict[str, Any], now: int) -> None:
    told = claims() | said
    answer = judge(told, EXPECTED, now)
    if isinstance(answer, Claims):
        assert is_name(answer.user_id)
        assert told["iss"] == ISSUER
        assert told["azp"] in (None, PAGE)
        assert answer.issued_at - SKEW <= now < answer.expires_at + SKEW


@given(st.dictionaries(st.sampled_from(("alg", "kid", "typ", "crit", "jku", "jwk", "x5u")), ANYTHING))
def test_a_header_names_a_key_or_it_does_not(header: dict[str, Any]) -> None:
    kid = key_id({"alg": "RS256", "kid": "k", "typ": "JWT"} | header)
    assert kid is None or kid == header.get("kid", "k")
    if header.get("alg", "RS256") != "RS256" or "crit" in header:
        assert kid is None


@pytest.mark.parametrize("header", [{}, {"kid": ""}, {"kid": "k" * 257}, {"kid": 1}, {"kid": "k", "typ": "at+jwt"}])
def test_headers_of_no_session_token(header: dict[str, Any]) -> None:
    assert key_id({"alg": "RS256"} | header) is None


def test_the_form_of_a_token_is_no_keys_and_has_an_end() -> None:
    assert is_token("a.b.c")
    for text in ("", "a.b", "a.b.c.d", "a.b.", ".b.c", "a.b.c=", "a.b.c\n", "ov_" + "a" * 43, "ä.b.c", "a. b.c"):
        assert not is_token(text)
    assert not is_token("a.b." + "c" * TOKEN_MAX)
