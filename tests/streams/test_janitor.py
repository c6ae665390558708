"""The janitor: which files go, and which must stay."""

from dataclasses import replace
from typing import Any

import pytest
import structlog

from repo.core.object_keys import KINDS, file_key, job_prefixes, session_keys
from repo.memory import MemoryAccessStore, MemoryEndpointStore, MemoryJobStore, MemoryObjectStore
from repo.ports import Unavailable
from repo.stores import FALLBACK, ObjectStores
from schemas.access import Acceptance, ApiKey, Person
from schemas.accounts import Account, Role
from schemas.chunks import Bundle, Chunks
from schemas.codec import Message, Record
from schemas.events import AccountEvent, FilesDiscarded, JobEvent
from schemas.instants import LAST
from schemas.jobs import Charge, ChargeState, Job, Output, StoredFile
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from streams.janitor import Janitor

NOW = 1_000_000
RECORD = Record("openv.events", 0, 0, 0, b"ann", b"", ())


def job(**changes: Any) -> Job:
    made = Job(
        job_id="j1",
        user_id="ann",
        pool="mochi",
        state=State.COMPLETED,
        version=3,
        request=GenerationRequest(prompt="p"),
        request_hash="h",
        charge=Charge(state=ChargeState.CAPTURED, seconds=1.0, reserved_at=1),
        created_at=1,
        updated_at=1,
        due_at=1,
        expires_at=2,
        execution_timeout_ms=1,
    )
    return replace(made, **changes)


class Room:
    """A janitor with the files of two attempts of two users' jobs, in both stores."""

    def __init__(self) -> None:
        self.store, self.objects = MemoryJobStore(), MemoryObjectStore()
        self.fallback, self.access = MemoryObjectStore("s3_fallback"), MemoryAccessStore()
        stores = ObjectStores(self.objects, self.fallback)
        self.endpoints = MemoryEndpointStore()
        self.janitor = Janitor(self.store, self.access, self.endpoints, stores, now=lambda: NOW)

    async def fill(self) -> None:
        for user in ("ann", "ann/evil", "bob"):
            for attempt in (1, 2):
                for key in session_keys(user, "j1", attempt, "w", "s1"):
                    await self.objects.put_bytes(key, b"x", "video/mp4")
                    await self.fallback.put_bytes(key, b"x", "video/mp4")

    async def hear(self, message: Message) -> None:
        await self.janitor.handle(message, RECORD, 1)

    async def left(self, user: str) -> list[str]:
        """The job's keys, which must be the same in both stores."""
        main, other = self.left_in(self.objects, user), self.left_in(self.fallback, user)
        assert main == other
        return main

    def left_in(self, store: MemoryObjectStore, user: str) -> list[str]:
        prefixes = tuple(job_prefixes(user, "j1"))
        return sorted(key for key in store.objects if key.startswith(prefixes))


@pytest.fixture
async def room() -> Room:
    made = Room()
    await made.fill()
    return made


async def test_a_deleted_jobs_files_go_and_nobody_elses(room: Room) -> None:
    await room.hear(JobEvent(job(state=State.DELETED)))
    assert await room.left("ann") == []
    assert len(await room.left("bob")) == len(await room.left("ann/evil")) == 2 * len(KINDS)


async def test_what_a_deleted_jobs_worker_streamed_goes_even_while_the_files_wait(room: Room) -> None:
    for job_id in ("j1", "j2"):
        await room.endpoints.store_chunks(Chunks(job_id=job_id, attempt=1, version=1, delete_at=LAST), 0)
        await room.endpoints.store_bundle(Bundle(bundle_id=f"of {job_id}", job_id=job_id, delete_at=LAST, texts=("1",)))
    room.objects.away = True
    with pytest.raises(Unavailable):
        await room.hear(JobEvent(job(state=State.DELETED, external=True)))
    assert await room.endpoints.chunks("j1") is None
    assert await room.endpoints.chunks("j2") is not None
    assert [one.job_id for one in await room.endpoints.bundles(["of j1", "of j2"])] == ["j2"]
    room.endpoints.away = True
    with pytest.raises(Unavailable):
        await room.hear(JobEvent(job(state=State.DELETED, external=True)))


async def test_other_job_events_delete_nothing(room: Room) -> None:
    await room.endpoints.store_chunks(Chunks(job_id="j1", attempt=1, version=1, delete_at=LAST), 0)
    for state in set(State) - {State.DELETED}:
        await room.hear(JobEvent(job(state=state, external=True)))
    assert await room.endpoints.chunks("j1") is not None
    assert len(await room.left("ann")) == 2 * len(KINDS)


async def test_a_discarded_attempts_files_go(room: Room) -> None:
    await room.hear(FilesDiscarded(user_id="ann", job_id="j1", attempt=1, worker_id="w"))
    assert sorted(await room.left("ann")) == sorted(session_keys("ann", "j1", 2, "w", "s1"))


async def test_what_the_document_shows_stays_whatever_is_said(room: Room) -> None:
    shown = file_key("ann", "j1", 1, "w", "s1", "video")
    output = Output(video=StoredFile(key=shown, bytes=1, sha256="0", media_type="video/mp4"))
    await room.store.store_job(job(version=1, output=output), 0)
    await room.hear(FilesDiscarded(user_id="ann", job_id="j1", attempt=1, worker_id="w"))
    assert shown in room.left_in(room.objects, "ann")
    assert len(room.left_in(room.objects, "ann")) == len(KINDS) + 1
    assert len(room.left_in(room.fallback, "ann")) == len(KINDS), "of the video the document shows the other copy"


async def test_an_external_workers_word_stays_also_where_it_failed(room: Room) -> None:
    word = file_key("ann", "j1", 1, "w", "s1", "output")
    failed = job(version=1, state=State.FAILED, output=Output(value_key=word), winning_attempt=1, worker_id="w")
    await room.store.store_job(failed, 0)
    await room.hear(FilesDiscarded(user_id="ann", job_id="j1", attempt=1, worker_id="w"))
    assert word in room.left_in(room.objects, "ann")


async def test_of_two_copies_the_one_in_the_store_that_the_document_names_stays(room: Room) -> None:
    shown = file_key("ann", "j1", 1, "w", "s1", "video")
    output = Output(video=StoredFile(key=shown, bytes=1, sha256="0", media_type="video/mp4", store=FALLBACK))
    await room.store.store_job(job(version=1, output=output), 0)
    await room.hear(FilesDiscarded(user_id="ann", job_id="j1", attempt=1, worker_id="w"))
    assert shown in room.fallback.objects
    assert shown not in room.objects.objects


@pytest.mark.parametrize("absent", ["objects", "fallback"])
async def test_a_store_that_is_away_is_waited_for_and_the_other_is_not_spared(room: Room, absent: str) -> None:
    away = getattr(room, absent)
    here = room.fallback if absent == "objects" else room.objects
    away.away = True
    deleted = JobEvent(job(state=State.DELETED))
    with pytest.raises(Unavailable):
        await room.hear(deleted)
    assert room.left_in(here, "ann") == []
    assert len(room.left_in(away, "ann")) == 2 * len(KINDS)
    away.away = False
    await room.hear(deleted)
    assert await room.left("ann") == []


async def test_a_store_that_is_not_configured_here_is_said_once_and_holds_up_nothing() -> None:
    janitor = Janitor(MemoryJobStore(), MemoryAccessStore(), MemoryEndpointStore(), ObjectStores(MemoryObjectStore()))
    video = StoredFile(key="k", bytes=1, sha256="0", media_type="video/mp4", store=FALLBACK)
    with structlog.testing.capture_logs() as logs:
        for version in (3, 4):
            await janitor.handle(JobEvent(job(version=version, output=Output(video=video))), RECORD, 1)
    assert [(line["log_level"], line["store"]) for line in logs] == [("error", FALLBACK)]


async def test_a_deleted_users_files_go_unless_the_user_came_back(room: Room) -> None:
    deleted = Account(user_id="ann", version=2, deleted_at=5)
    await room.store.store_account(Account(user_id="ann", version=3), 0)
    await room.hear(AccountEvent(deleted))
    assert len(await room.left("ann")) == 2 * len(KINDS)

    await room.store.store_account(replace(deleted, version=4), 3)
    await room.hear(AccountEvent(deleted))
    assert await room.left("ann") == []
    assert len(await room.left("ann/evil")) == 2 * len(KINDS)


async def belongings(room: Room, made_at: int, name: str) -> None:
    """A key and an acceptance of ann's, made then."""
    key = ApiKey(key_hash=name, prefix="ov_", user_id="ann", role=Role.ADMIN, name=name, created_at=made_at)
    await room.access.store_api_key(key)
    await room.access.accept_terms(Acceptance(user_id="ann", version=name, accepted_at=made_at))


async def test_what_let_a_deleted_user_in_goes_too_whenever_it_was_made(room: Room) -> None:
    await room.store.store_account(Account(user_id="ann", version=2, deleted_at=60, deleted_issued_at=50), 0)
    for made_at, name in ((1, "before"), (55, "meanwhile"), (90, "by a faster clock")):
        await belongings(room, made_at, name)
    bobs = ApiKey(key_hash="b", prefix="ov_", user_id="bob", role=Role.USER, name="", created_at=1)
    await room.access.store_api_key(bobs)
    await room.access.store_person(Person(user_id="ann", updated_at=40, email="ann@example.org", first_name="Ann"))

    await room.hear(AccountEvent(Account(user_id="ann", version=2, deleted_at=60, deleted_issued_at=50)))
    assert await room.access.api_keys("ann") == []
    assert await room.access.acceptances("ann") == []
    assert await room.access.person("ann") == Person(user_id="ann", updated_at=40)
    assert await room.access.api_keys("bob") == [bobs]


async def test_who_came_back_keeps_what_is_new_but_no_old_key_opens_the_new_account(room: Room) -> None:
    await room.store.store_account(Account(user_id="ann", version=3, deleted_issued_at=50), 0)
    await belongings(room, 49, "old")
    await belongings(room, 70, "new")
    await room.access.store_person(Person(user_id="ann", updated_at=70, email="ann@example.org"))

    await room.hear(AccountEvent(Account(user_id="ann", version=2, deleted_at=60, deleted_issued_at=50)))
    assert [key.name for key in await room.access.api_keys("ann")] == ["new"]
    assert [one.version for one in await room.access.acceptances("ann")] == ["new"]
    assert await room.access.person("ann") == Person(user_id="ann", updated_at=70, email="ann@example.org")
    assert len(await room.left("ann")) == 2 * len(KINDS)


async def test_keys_go_while_the_files_wait_for_their_store(room: Room) -> None:
    deleted = Account(user_id="ann", version=2, deleted_at=60, deleted_issued_at=50)
    await room.store.store_account(deleted, 0)
    await belongings(room, 1, "old")
    room.objects.away = True
    with pytest.raises(Unavailable):
        await room.hear(AccountEvent(deleted))
    assert await room.access.api_keys("ann") == []
    room.objects.away, room.access.away = False, True
    with pytest.raises(Unavailable):
        await room.hear(AccountEvent(deleted))
    room.access.away = False
    await room.hear(AccountEvent(deleted))
    assert await room.left("ann") == []
