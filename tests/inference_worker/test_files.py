"""Uploads: retries, the fallback store, what differs, and what is deleted again."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from inference_worker.files import FileStore, Patience, StorageFailed
from repo.core.object_keys import file_key
from repo.memory import MemoryObjectStore
from repo.ports import Unavailable
from repo.stores import FALLBACK, ObjectStores
from schemas.jobs import StoredFile
from tests.inference_worker.parent_world import order, until, write_media

QUICK = Patience(main_s=0.2, fallback_s=5, first_pause_s=0.01, last_pause_s=0.02)
PATIENT = replace(QUICK, main_s=20)


def keys_of(attempt: int) -> list[str]:
    """Of a video's files, in the order in which they are stored."""
    return [file_key("u1", "j1", attempt, "w1", "s1", kind) for kind in ("video", "poster", "thumbnail")]


def files(
    main: MemoryObjectStore, fallback: MemoryObjectStore | None = None, patience: Patience = PATIENT
) -> FileStore:
    return FileStore(ObjectStores(main, fallback), patience)


async def test_all_files_are_stored_and_counted(tmp_path: Path) -> None:
    main, steps = MemoryObjectStore(), list[tuple[int, int]]()
    media = write_media(tmp_path)
    output = await files(main).store(order(), media, lambda step, of: steps.append((step, of)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert sorted(main.objects) == sorted(keys_of(1))
    assert output.video
    assert (output.video.sha256, output.video.bytes, output.video.store) == (
        media.video.sha256,
        media.video.bytes,
        None,
    )
    assert (output.width, output.height, output.frames, output.fps) == (96, 64, 7, 24)


class Sometimes(MemoryObjectStore):
    """Refuses the first tries of every key, then stores it."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures
        self.tries: list[str] = []

    async def put_file(self, key: str, path: Path, media_type: str) -> StoredFile:
        self.tries.append(key)
        if self.tries.count(key) <= self.failures:
            raise Unavailable("s3", "for a moment")
        return await super().put_file(key, path, media_type)


async def test_it_is_tried_again_and_what_is_stored_is_not_sent_twice(tmp_path: Path) -> None:
    main = Sometimes(3)
    await files(main).store(order(), write_media(tmp_path), lambda *_: None)
    assert [main.tries.count(key) for key in keys_of(1)] == [4, 4, 4]


async def test_a_store_that_keeps_something_else_is_not_believed(tmp_path: Path) -> None:
    class Spoils(MemoryObjectStore):
        spoilt = 0

        async def put_file(self, key: str, path: Path, media_type: str) -> StoredFile:
            found = await super().put_file(key, path, media_type)
            if self.spoilt < 2:
                self.spoilt += 1
                return replace(found, sha256="0" * 64)
            return found

    main = Spoils()
    media = write_media(tmp_path)
    output = await files(main).store(order(), media, lambda *_: None)
    assert output.video
    assert output.video.sha256 == media.video.sha256
    assert main.spoilt == 2


async def test_the_fallback_takes_what_the_main_store_does_not(tmp_path: Path) -> None:
    main, fallback = MemoryObjectStore(), MemoryObjectStore()
    main.away = True
    output = await files(main, fallback, QUICK).store(order(), write_media(tmp_path), lambda *_: None)
    assert sorted(fallback.objects) == sorted(keys_of(1))
    assert [one.store for one in (output.video, output.poster, output.thumbnail) if one] == [FALLBACK] * 3


async def test_a_main_store_that_never_answers_leaves_the_fallback_its_time(tmp_path: Path) -> None:
    class Swallows(MemoryObjectStore):
        async def put_file(self, key: str, path: Path, media_type: str) -> StoredFile:
            await asyncio.Event().wait()
            raise AssertionError

    fallback = MemoryObjectStore()
    output = await files(Swallows(), fallback, QUICK).store(order(), write_media(tmp_path), lambda *_: None)
    assert output.video
    assert output.video.store == FALLBACK


async def test_what_one_store_has_taken_stays_there_though_the_rest_goes_elsewhere(tmp_path: Path) -> None:
    main, fallback = MemoryObjectStore(), MemoryObjectStore()

    def cut(step: int, _: int) -> None:
        main.away = step < 3

    output = await files(main, fallback, QUICK).store(order(), write_media(tmp_path), cut)
    assert [one.store for one in (output.video, output.poster, output.thumbnail) if one] == [None, FALLBACK, FALLBACK]
    assert len(main.objects) == 1
    assert len(fallback.objects) == 2


async def test_a_main_store_that_is_back_first_takes_it_even_in_the_fallbacks_time(tmp_path: Path) -> None:
    main, fallback = MemoryObjectStore(), Sometimes(10**9)
    main.away = True
    uploading = asyncio.create_task(files(main, fallback, QUICK).store(order(), write_media(tmp_path), lambda *_: None))
    await until(lambda: fallback.tries, "the fallback tried")
    main.away = False
    output = await uploading
    assert output.video
    assert output.video.store is None


class WithoutBucket(MemoryObjectStore):
    """A new server: away at first, and without a bucket until somebody makes it."""

    made = False

    async def prepare(self) -> None:
        await super().prepare()
        self.made = True

    async def put_file(self, key: str, path: Path, media_type: str) -> StoredFile:
        if not self.made:
            raise Unavailable("s3", "no such bucket")
        return await super().put_file(key, path, media_type)


async def test_a_store_that_was_away_at_the_start_gets_its_bucket_when_it_is_needed(tmp_path: Path) -> None:
    main, fallback = MemoryObjectStore(), WithoutBucket()
    fallback.away = True
    store = files(main, fallback, QUICK)
    await store.prepare()
    main.away, fallback.away = True, False
    output = await store.store(order(), write_media(tmp_path), lambda *_: None)
    assert output.video
    assert output.video.store == FALLBACK


async def test_one_store_is_enough_to_begin_and_none_is_not() -> None:
    main, fallback = MemoryObjectStore(), MemoryObjectStore()
    main.away = True
    await files(main, fallback).prepare()
    fallback.away = True
    with pytest.raises(Unavailable):
        await files(main, fallback).prepare()


async def test_an_outage_is_told_once_and_logged_once_however_often_it_is_tried(tmp_path: Path) -> None:
    main, told = Sometimes(40), list[int]()
    store = files(main, None, replace(PATIENT, first_pause_s=0.0))
    with structlog.testing.capture_logs() as logs:
        await store.store(order(), write_media(tmp_path), lambda *_: None, lambda: told.append(1))
    assert len(told) == 3, "one outage a file"
    assert [line["event"] for line in logs] == ["upload_waits", "upload_goes_on"] * 3


async def test_without_a_fallback_it_fails_in_words(tmp_path: Path) -> None:
    main = MemoryObjectStore()
    main.away = True
    with pytest.raises(StorageFailed, match="The video was made but could not be stored: the main store"):
        await files(main, None, QUICK).store(order(), write_media(tmp_path), lambda *_: None)


async def test_a_lost_file_is_no_outage(tmp_path: Path) -> None:
    media = write_media(tmp_path)
    media.video.path.unlink()
    with pytest.raises(FileNotFoundError):
        await files(MemoryObjectStore()).store(order(), media, lambda *_: None)


async def test_cancelling_ends_the_retries(tmp_path: Path) -> None:
    main = Sometimes(10**9)
    uploading = asyncio.create_task(files(main).store(order(), write_media(tmp_path), lambda *_: None))
    await until(lambda: len(main.tries) > 2, "some tries")
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading


async def test_discard_deletes_the_attempts_keys_in_both_stores_and_no_other(tmp_path: Path) -> None:
    main, fallback = MemoryObjectStore(), MemoryObjectStore()
    store = files(main, fallback)
    await store.store(order(), write_media(tmp_path), lambda *_: None)
    await store.store(order(attempt=2), write_media(tmp_path), lambda *_: None)
    fallback.objects = dict(main.objects)
    await store.discard(order())
    assert sorted(main.objects) == sorted(keys_of(2))
    assert sorted(fallback.objects) == sorted(main.objects)


async def test_discard_waits_for_a_store_that_is_away_and_not_with_the_other(tmp_path: Path) -> None:
    main, fallback = MemoryObjectStore(), MemoryObjectStore()
    store = files(main, fallback)
    await store.store(order(), write_media(tmp_path), lambda *_: None)
    fallback.objects = dict(main.objects)
    main.away = True
    discarding = asyncio.create_task(store.discard(order()))
    await until(lambda: not fallback.objects, "the fallback emptied")
    assert main.objects
    main.away = False
    await discarding
    assert not main.objects


async def test_discard_ends_in_words_when_patience_does(tmp_path: Path) -> None:
    main = MemoryObjectStore()
    main.away = True
    with pytest.raises(Unavailable, match="away"):
        await files(main, None, QUICK).discard(order())
