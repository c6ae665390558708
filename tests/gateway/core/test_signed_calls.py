"""Signatures over job and attempt."""

from urllib.parse import parse_qsl, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.signed_calls import verified
from schemas.signed_calls import PATH, Signed, signed_call

OLD, NEW = "o" * 32, "n" * 32
JOB = Signed("3f0c4a52-8a8f-5d0e-9f6a-0d5b9c1e7a11", 2)
NOW = 1_000_000
EXPIRES = NOW // 1000 + 60


def query_of(url: str) -> dict[str, str]:
    assert urlsplit(url).path == PATH
    return dict(parse_qsl(urlsplit(url).query))


def test_what_was_signed_is_vouched_for_until_it_expires() -> None:
    query = query_of(signed_call(NEW, JOB, EXPIRES))
    assert verified([NEW], query, NOW) == JOB
    assert verified([NEW], query, EXPIRES * 1000 - 1) == JOB
    assert verified([NEW], query, EXPIRES * 1000) is None


def test_a_secret_may_be_replaced_while_its_addresses_are_out() -> None:
    query = query_of(signed_call(OLD, JOB, EXPIRES))
    assert verified([NEW, OLD], query, NOW) == JOB
    assert verified([NEW], query, NOW) is None
    assert verified([], query, NOW) is None


@given(st.sampled_from(["job", "attempt", "expires", "signature"]), st.text(max_size=80) | st.none())
def test_nothing_of_it_can_be_changed_or_left_out(name: str, value: str | None) -> None:
    good = query_of(signed_call(NEW, JOB, EXPIRES))
    query = {other: text for other, text in good.items() if other != name} | ({} if value is None else {name: value})
    assert verified([NEW], query, NOW) == (JOB if query == good else None)


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 99), st.integers(0, 99))
def test_no_two_calls_share_a_signature(one: str, other: str, first: int, second: int) -> None:
    signatures = [
        query_of(signed_call(NEW, Signed(job, attempt), EXPIRES))["signature"]
        for job, attempt in ((one, first), (other, second))
    ]
    assert (signatures[0] == signatures[1]) == ((one, first) == (other, second))


def test_a_workers_address_is_another_than_a_reports() -> None:
    for_worker = Signed(JOB.job_id, JOB.attempt, "engine.1")
    query = query_of(signed_call(NEW, for_worker, EXPIRES))
    assert verified([NEW, OLD], query, NOW) == for_worker
    report = query_of(signed_call(NEW, JOB, EXPIRES))
    assert query["signature"] != report["signature"]
    assert verified([NEW], {**report, "worker": "engine.1"}, NOW) is None
    assert verified([NEW], {name: text for name, text in query.items() if name != "worker"}, NOW) is None


@given(st.text(max_size=80))
def test_a_workers_name_can_not_be_changed(name: str) -> None:
    good = Signed(JOB.job_id, JOB.attempt, "engine.1")
    query = {**query_of(signed_call(NEW, good, EXPIRES)), "worker": name}
    assert verified([NEW], query, NOW) == (good if name == "engine.1" else None)
