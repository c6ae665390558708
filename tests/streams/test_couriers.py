"""The leased loop: who sends what, how often, and who waits for whom."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from repo.ports import Unavailable
from schemas.deliveries import JOBS, Delivery, DeliveryKind, DeliveryState
from streams.core.deliveries import WORDS_OVERDUE, Result, SendingPolicy
from streams.senders import Skip, Try
from tests.streams.post import NOW, QUICK, FakeSender, Post, broken, fine, until, working


@pytest.fixture
async def post() -> Post:
    made = Post()
    await made.endpoint()
    return made


async def ended(post: Post, delivery_id: str) -> bool:
    return (await post.got(delivery_id)).next_at is None


async def test_what_is_due_is_sent_and_noted(post: Post) -> None:
    await post.add("m1")
    await post.add("m2", next_at=NOW + 1)
    async with working(post.couriers()):
        await until(lambda: ended(post, "m1"))
        assert [one.delivery_id for one in post.sender.sent] == ["m1"]
        post.now += 1
        await until(lambda: ended(post, "m2"))
    assert (await post.got("m1")).state is DeliveryState.SUCCEEDED


async def test_a_failure_is_tried_again_when_it_is_due_and_under_the_same_id(post: Post) -> None:
    post.sender.answer = broken
    await post.add("m1")
    async with working(post.couriers()):
        for tries in range(1, 11):
            await until(lambda tries=tries: tried(post, "m1", tries))  # type: ignore[misc]
            assert len(post.sender.sent) == tries
            post.now = (await post.got("m1")).next_at or post.now
    over = await post.got("m1")
    assert (over.state, over.tries, len(over.attempts)) == (DeliveryState.FAILED, 10, 10)
    assert {(one.delivery_id, one.body) for one in post.sender.sent} == {("m1", "{}")}
    endpoint = (await post.store.hooks("ann")).endpoints[0]
    assert (endpoint.enabled, endpoint.failing_since) == (True, NOW)


async def tried(post: Post, delivery_id: str, tries: int) -> bool:
    return len((await post.got(delivery_id)).attempts) == tries


async def test_many_couriers_send_each_delivery_once(post: Post) -> None:
    for number in range(200):
        user, endpoint = f"u{number % 20}", f"wh_{number % 40}"
        await post.add(f"m{number}", user, endpoint)
    async with working(*(post.couriers() for _ in range(4))):
        await until(lambda: none_open(post))
    assert Counter(one.delivery_id for one in post.sender.sent) == {f"m{number}": 1 for number in range(200)}


async def none_open(post: Post) -> bool:
    return not await post.store.due(NOW + 10**9, 1)


async def test_who_dies_in_the_middle_is_followed_after_the_lease_with_the_same_id(post: Post) -> None:
    await post.add("m1")
    dying = FakeSender(held=lambda _: asyncio.Event())
    async with working(post.couriers(sender=dying)):
        await until(lambda: dying.sent)
    assert (await post.got("m1")).state is DeliveryState.SENDING
    post.now += QUICK.lease_ms - 1
    async with working(post.couriers()):
        await post.looked()  # nobody may take it before the lease is over
        assert not post.sender.sent
        post.now += 1
        await until(lambda: ended(post, "m1"))
    assert [one.delivery_id for one in (*dying.sent, *post.sender.sent)] == ["m1", "m1"]
    assert (await post.got("m1")).state is DeliveryState.SUCCEEDED


async def test_a_slow_endpoint_delays_nobody_else_and_a_slow_user_neither(post: Post) -> None:
    never = asyncio.Event()
    for number in range(40):
        await post.add(f"slow{number}", "ann", "wh_slow", next_at=NOW - 100)
        await post.add(f"more{number}", "bob", f"wh_bob{number}", next_at=NOW - 100)
    for number in range(5):
        await post.add(f"quick{number}", "ann", "wh_1")
        await post.add(f"cyd{number}", "cyd", "wh_2")
    post.sender.held = lambda one: never if one.delivery_id.startswith(("slow", "more")) else None
    async with working(post.couriers(SendingPolicy(look_ms=5, at_once=16))):
        for number in range(5):
            await until(lambda number=number: ended(post, f"quick{number}"))  # type: ignore[misc]
            await until(lambda number=number: ended(post, f"cyd{number}"))  # type: ignore[misc]
        held = Counter(one.endpoint_id for one in post.sender.sent if one.delivery_id.startswith("slow"))
        assert held == {"wh_slow": QUICK.per_endpoint}
        of_bob = [one for one in post.sender.sent if one.user_id == "bob"]
        assert len(of_bob) == QUICK.per_user


async def test_a_server_that_does_not_answer_holds_up_no_other_of_the_same_user(post: Post) -> None:
    never = asyncio.Event()
    for number in range(40):
        await post.add(f"slow{number}", endpoint_id=JOBS, kind=DeliveryKind.JOB, to="to_slow", next_at=NOW - 100)
        await post.add(f"quick{number}", endpoint_id=JOBS, kind=DeliveryKind.JOB, to="to_quick")
    post.sender.held = lambda one: never if one.to == "to_slow" else None
    async with working(post.couriers(SendingPolicy(look_ms=5, at_once=16))):
        for number in range(40):
            await until(lambda number=number: ended(post, f"quick{number}"))  # type: ignore[misc]
        assert sum(one.to == "to_slow" for one in post.sender.sent) == QUICK.per_endpoint
        never.set()
        post.sender.answer = broken
        await until(lambda: tried(post, "slow0", 1))
    assert (await post.store.hooks("ann")).endpoints[0].failing_since is None, "no endpoint of theirs has to do with it"


async def test_a_server_that_failed_last_has_one_place_and_another_of_the_same_user_two(post: Post) -> None:
    def answer(one: Delivery) -> Result:
        return broken(one) if one.to == "to_bad" else fine(one)

    async def add(name: str, to: str) -> None:
        await post.add(name, endpoint_id=JOBS, kind=DeliveryKind.JOB, to=to)

    post.sender.answer = answer
    await add("bad0", "to_bad")
    async with working(post.couriers()):
        await until(lambda: tried(post, "bad0", 1))
        post.sender.sent.clear()
        never = asyncio.Event()
        post.sender.held = lambda _: never
        for number in range(1, 5):
            await add(f"bad{number}", "to_bad")
            await add(f"good{number}", "to_good")
        await until(lambda: len(post.sender.sent) >= 3)
        await post.looked()
        assert Counter(one.to for one in post.sender.sent) == {"to_bad": 1, "to_good": 2}


async def test_calls_about_jobs_that_are_long_overdue_are_cancelled_and_others_sent(post: Post) -> None:
    due = NOW - QUICK.overdue_ms - 1
    for number in range(100):
        await post.add(f"old{number}", endpoint_id=JOBS, kind=DeliveryKind.JOB, to="to_a", next_at=due)
    await post.add("m1", next_at=due)
    await post.add("new", endpoint_id=JOBS, kind=DeliveryKind.JOB, to="to_a")
    async with working(post.couriers()):
        await until(lambda: none_open(post))
    assert {one.delivery_id for one in post.sender.sent} == {"m1", "new"}
    over = await post.got("old99")
    assert (over.state, over.reason, over.attempts) == (DeliveryState.CANCELLED, WORDS_OVERDUE, ())


async def test_many_users_with_endless_endpoints_hold_up_nobody_else(post: Post) -> None:
    answered = asyncio.Event()
    for number in range(600):
        user = f"bad{number % 20}"
        await post.add(f"slow{number}", user, f"wh_{user}_{number // 20 % 4}", next_at=NOW - 1000 + number)
    post.sender.held = lambda one: answered if one.user_id.startswith("bad") else None
    post.sender.answer = lambda one: broken(one) if one.user_id.startswith("bad") else fine(one)
    policy = SendingPolicy(look_ms=5)
    places = policy.at_once - policy.mails

    def of_the_bad() -> list[Delivery]:
        return [one for one in post.sender.sent if one.user_id.startswith("bad")]

    async with working(post.couriers(policy, mail=True)):
        await until(lambda: len(of_the_bad()) >= 20)
        await post.looked()
        assert len({one.user_id for one in of_the_bad()}) == 20
        assert len(of_the_bad()) == 20 + places // 2, "each has one, second ones hold half of the places"
        await post.add("m1")
        await post.add("mail1", "cyd", "mail", kind=DeliveryKind.MAIL)
        await until(lambda: ended(post, "m1"))
        await until(lambda: ended(post, "mail1"))
        before = len(of_the_bad())
        still, answered = answered, asyncio.Event()
        still.set()  # all have failed; what is begun now does not end
        await until(lambda: len(of_the_bad()) >= before + places // 2)
        await post.looked()
        post.now += policy.slow_ms
        await post.looked()
        doubted = {one.endpoint_id for one in of_the_bad()[:before]}
        held = Counter(one.endpoint_id for one in of_the_bad()[before:])
        assert sum(held[one] for one in doubted) <= places // 2
        assert max(held[one] for one in doubted) == 1
        await post.add("m2")
        await until(lambda: ended(post, "m2"))
        assert not post.sender.held(await post.got("slow599")).is_set()  # type: ignore[union-attr]


async def test_what_could_not_be_sent_for_our_part_is_put_off_and_counts_no_try(post: Post) -> None:
    post.sender.answer = lambda _: Result(at=post.now, duration_ms=0, error="no lookup was free", put_off=True)
    await post.add("m1")

    async def put_off() -> bool:
        return (await post.got("m1")).next_at == NOW + QUICK.put_off_ms

    async with working(post.couriers()):
        await until(put_off)
        assert ((await post.got("m1")).tries, (await post.got("m1")).attempts) == (0, ())
        post.sender.answer = fine
        post.now += QUICK.put_off_ms
        await until(lambda: ended(post, "m1"))
    assert (await post.got("m1")).tries == 1
    assert (await post.store.hooks("ann")).endpoints[0].failing_since is None


async def test_a_delivery_that_is_not_to_be_sent_is_cancelled(post: Post) -> None:
    await post.add("m1")
    await post.add("m2", kind=DeliveryKind.MAIL, endpoint_id="mail")
    post.sender.skip = "The endpoint was deleted."
    async with working(post.couriers()):
        await until(lambda: ended(post, "m1"))
        await until(lambda: ended(post, "m2"))
    assert ((await post.got("m1")).state, (await post.got("m1")).reason) == ("cancelled", "The endpoint was deleted.")
    assert (await post.got("m2")).state is DeliveryState.CANCELLED, "mail was switched off"


async def test_410_disables_the_endpoint_and_what_waits_for_it_is_not_sent(post: Post) -> None:
    post.sender.answer = lambda _: Result(at=NOW, duration_ms=1, status=410, error="HTTP 410")
    await post.add("m1")

    async def is_disabled() -> bool:
        return not (await post.store.hooks("ann")).endpoints[0].enabled

    async with working(post.couriers()):
        await until(is_disabled)
    assert (await post.got("m1")).state is DeliveryState.FAILED


async def test_an_error_of_ours_is_a_try_that_failed(post: Post) -> None:
    def bug(_: Delivery) -> Result:
        raise RuntimeError("a prompt or a secret")

    post.sender.answer = bug
    await post.add("m1")
    async with working(post.couriers()):
        await until(lambda: tried(post, "m1", 1))
    assert (await post.got("m1")).attempts[0].error == "it could not be sent"
    assert (await post.got("m1")).state is DeliveryState.PENDING


async def test_mongodb_away_is_waited_for_and_nothing_is_lost(post: Post) -> None:
    held, store, refused = asyncio.Event(), post.store.store_delivery, 0
    post.sender.held = lambda _: held

    async def counting(delivery: Delivery, expected: int) -> bool:
        nonlocal refused
        refused += post.store.away
        return await store(delivery, expected)

    post.store.store_delivery = counting  # type: ignore[method-assign]
    await post.add("m1")
    await post.add("m2", endpoint_id="wh_2")
    async with working(post.couriers()):
        await until(lambda: len(post.sender.sent) == 2)
        post.database.away = True
        held.set()
        await until(lambda: refused >= 2)  # the tries have ended while nothing can be noted
        with pytest.raises(Unavailable):
            await post.got("m1")
        post.database.away = False
        await until(lambda: ended(post, "m1"))
        await until(lambda: ended(post, "m2"))
    assert len(post.sender.sent) == 2, "what was sent is not sent again because noting it took a while"


async def test_who_waits_until_its_lease_is_nearly_over_leaves_it_to_the_next(post: Post) -> None:
    class Waiting(FakeSender):
        async def prepare(self, delivery: Delivery) -> Try | Skip:
            self.prepared += 1
            if self.prepared == 1:
                post.now += QUICK.lease_ms - QUICK.timeout_ms + 1  # MongoDB was away
            return await super().prepare(delivery)

        prepared = 0

    sender = Waiting()
    await post.add("m1")
    async with working(post.couriers(sender=sender)):
        await until(lambda: sender.prepared)
        await post.looked()  # the lease is not over
        assert sender.sent == []
        post.now += QUICK.timeout_ms
        await until(lambda: ended(post, "m1"))
    assert [one.tries for one in sender.sent] == [2]


async def test_what_is_taken_back_while_it_is_sent_stays_taken_back(post: Post) -> None:
    held = asyncio.Event()
    post.sender.held = lambda _: held
    post.sender.answer = broken
    await post.add("m1")
    async with working(post.couriers()):
        await until(lambda: post.sender.sent)
        sending = await post.got("m1")
        cancelled = replace(sending, state=DeliveryState.CANCELLED, version=sending.version + 1, next_at=None)
        assert await post.store.store_delivery(cancelled, sending.version)
        held.set()
        await post.add("m2")
        await until(lambda: len(post.sender.sent) == 2)
    assert await post.got("m1") == cancelled


async def test_stopping_waits_for_what_is_under_way_and_begins_nothing(post: Post) -> None:
    held = asyncio.Event()
    post.sender.held = lambda _: held
    couriers = post.couriers()
    await post.add("m1")
    async with working(couriers):
        await until(lambda: post.sender.sent)
        stopping = asyncio.create_task(couriers.stop(20))
        await asyncio.sleep(0)  # it has begun
        await post.add("m2")
        couriers.wake()
        held.set()
        await stopping
        assert await ended(post, "m1")
    assert [one.delivery_id for one in post.sender.sent] == ["m1"]


async def test_the_old_are_swept(post: Post) -> None:
    await post.add("m1", next_at=None, state=DeliveryState.SUCCEEDED, delete_at=NOW)
    await post.add("m2", next_at=None, state=DeliveryState.SUCCEEDED, delete_at=NOW + 1)

    async def swept() -> bool:
        return await post.store.delivery("m1") is None

    async with working(post.couriers()):
        await until(swept)
    assert await post.got("m2")
