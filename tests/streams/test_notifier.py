"""The notifier's handler: which documents an event leaves, however often it is read."""

from dataclasses import replace

import pytest

from repo.ports import Unavailable
from schemas.accounts import Account
from schemas.codec import Message, Record, encode
from schemas.deliveries import JOBS, Delivery, DeliveryKind, DeliveryState, Hooks, WebhookEvent
from schemas.events import AccountEvent, CommandAnswered, JobEvent, Outcome
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.topics import EVENTS
from streams.notifier import WANTED
from tests.streams.core.test_notices import NOW, job
from tests.streams.post import Post
from tests.streams.rig import PARTITION, Recording, Rig

RECORD = Record("openv.events", 0, 0, 0, b"ann", b"", ())


async def hear(post: Post, *messages: Message, mail: bool = False) -> None:
    notifier = post.notifier(mail=mail)
    for message in messages:
        await notifier.handle(message, RECORD, 1)


async def stored(post: Post, user_id: str = "ann") -> list[Delivery]:
    endpoints = [one.endpoint_id for one in (await post.store.hooks(user_id)).endpoints]
    return [one for name in (*endpoints, "mail") for one in await post.store.deliveries_of(user_id, name)]


@pytest.fixture
async def post() -> Post:
    made = Post()
    await made.endpoint(endpoint_id="wh_1")
    await made.endpoint(endpoint_id="wh_2")
    await made.endpoint("bob", "wh_3")
    return made


async def test_an_end_makes_one_delivery_for_each_endpoint_of_that_user(post: Post) -> None:
    await hear(post, JobEvent(job()), mail=True)
    assert [one.endpoint_id for one in await stored(post)] == ["wh_1", "wh_2", "mail"]
    assert await stored(post, "bob") == []
    assert post.woken == 1


async def test_a_replay_makes_nothing_new_and_undoes_nothing(post: Post) -> None:
    story: list[Message] = [
        JobEvent(job(State.QUEUED, version=1)),
        JobEvent(job(State.FAILED)),
        JobEvent(job(State.COMPLETED, version=7, run=2)),
    ]
    await hear(post, *story, mail=True)
    first = await stored(post)
    assert len(first) == 5
    over = replace(first[0], version=2, state=DeliveryState.SUCCEEDED, next_at=None)
    assert await post.store.store_delivery(over, 1)
    before = await stored(post)
    await post.endpoint(endpoint_id="wh_new", listens=dict.fromkeys(WebhookEvent, NOW + 1))
    post.now += 20 * 86_400_000
    await hear(post, *story, *story, mail=True)
    assert await stored(post) == before


async def test_a_deleted_video_is_told_no_more(post: Post) -> None:
    await hear(post, JobEvent(job()))
    sent, waiting = await stored(post)
    over = replace(sent, version=2, state=DeliveryState.SUCCEEDED, next_at=None)
    assert await post.store.store_delivery(over, 1)
    await hear(post, JobEvent(job(State.DELETED, version=9)))
    assert await post.got(sent.delivery_id) == over
    after = await post.got(waiting.delivery_id)
    assert (after.state, after.reason, after.next_at) == (DeliveryState.CANCELLED, "The video was deleted.", None)


async def test_the_address_of_a_job_is_told_once_and_goes_with_the_job(post: Post) -> None:
    made = job(State.COMPLETED, webhook="https://hooks.example.org/a", external=True, endpoint="any")
    assert await post.database.jobs.store_job(made, 0)
    await hear(post, JobEvent(made), JobEvent(made), mail=True)
    (delivery,) = await post.store.deliveries_of("ann", JOBS)
    assert (delivery.kind, delivery.url, delivery.run) == (DeliveryKind.JOB, made.webhook, 1)
    assert await stored(post) == [], "no video: neither the user's endpoints nor a mail"
    assert post.woken == 2
    gone = replace(made, state=State.DELETED, version=made.version + 1, webhook=None)
    assert await post.database.jobs.store_job(gone, made.version)
    await hear(post, JobEvent(gone))
    assert await post.store.deliveries_of("ann", JOBS) == []
    await hear(post, JobEvent(made))
    assert await post.store.deliveries_of("ann", JOBS) == [], "nor does a replay bring it back"
    await hear(post, JobEvent(replace(made, job_id="unknown")))
    assert await post.store.deliveries_of("ann", JOBS) == []


async def test_a_video_asked_for_by_runpods_api_is_told_to_both(post: Post) -> None:
    made = job(State.COMPLETED, webhook="https://hooks.example.org/a", endpoint="mochi-1")
    assert await post.database.jobs.store_job(made, 0)
    await hear(post, JobEvent(made))
    assert len(await post.store.deliveries_of("ann", JOBS)) == 1
    assert len(await stored(post)) == 2


async def test_of_a_deleted_user_nothing_stays(post: Post) -> None:
    await hear(post, JobEvent(job()), JobEvent(job(user_id="bob", job_id="j2")), mail=True)
    kept = await stored(post, "bob")
    told = Account(user_id="ann", version=5, deleted_at=NOW, deleted_issued_at=NOW)
    assert await post.database.jobs.store_account(told, 0)
    post.now += 1
    for _ in range(2):
        await hear(post, AccountEvent(told))
        assert (await post.store.hooks("ann")).endpoints == ()
        assert await post.store.due(NOW + 10**10, 100, not_of=["bob"]) == []
    assert await stored(post, "bob") == kept
    await hear(post, JobEvent(job()))
    assert await stored(post) == [], "nor does a replay find anybody to tell"


async def test_a_user_who_came_back_keeps_what_is_new(post: Post) -> None:
    back = Account(user_id="ann", version=6)
    assert await post.database.jobs.store_account(back, 0)
    await post.endpoint(endpoint_id="wh_new", created_at=NOW)
    told = Account(user_id="ann", version=5, deleted_at=NOW - 9, deleted_issued_at=NOW - 10)
    await hear(post, AccountEvent(told))
    assert [one.endpoint_id for one in (await post.store.hooks("ann")).endpoints] == ["wh_new"]


async def test_a_store_that_is_away_is_told_to_the_reader(post: Post) -> None:
    post.database.away = True
    with pytest.raises(Unavailable):
        await hear(post, JobEvent(job()))
    post.database.away = False
    await hear(post, JobEvent(job()))
    assert len(await stored(post)) == 2


async def test_a_compare_and_set_that_is_lost_is_made_again(post: Post) -> None:
    told = Account(user_id="ann", version=5, deleted_at=NOW, deleted_issued_at=NOW)
    store, lost = post.store.store_hooks, 2

    async def racing(hooks: Hooks, expected: int) -> bool:
        nonlocal lost
        if lost:
            lost -= 1
            current = await post.store.hooks("ann")
            assert await store(replace(current, version=current.version + 1), current.version)
            return False
        return await store(hooks, expected)

    post.store.store_hooks = racing  # type: ignore[method-assign]
    await hear(post, AccountEvent(told))
    assert (await post.store.hooks("ann")).endpoints == ()


async def test_a_reader_of_some_types_passes_over_the_rest_and_buries_nothing() -> None:
    """Half of the records are of types it does not want, one of those it wants can't be read."""
    seen = Recording()
    rig = Rig(seen, topic=EVENTS, only=WANTED)
    made: list[Job] = [job(State.QUEUED), job(State.FAILED), job(State.DELETED)]
    answer = CommandAnswered(command_id="c", user_id="ann", outcome=Outcome.DONE)
    encoded = [encode(one, source="/tests", at=0) for one in (*map(JobEvent, made), answer)]
    encoded.append(replace(encoded[1], value=b"not JSON"))
    encoded.append(replace(encoded[1], headers=()))
    encoded.append(encode(AccountEvent(Account(user_id="ann", deleted_at=1)), source="/tests", at=0))
    for one in encoded:
        await rig.log.append(one, partition=PARTITION)
    for record in await rig.records():
        await rig.reader.take(record)
    assert seen.offsets == [1, 2, 6]
    assert rig.dead_letters() == [], "the janitor reads the topic whole"
    assert rig.offsets.last(PARTITION) == 6
