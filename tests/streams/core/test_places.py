"""Places and waits: the first hundred, at most once a second, only what changed."""

from schemas.endpoints import external_pool
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from streams.core.effects import ShowPlace
from streams.core.pool_state import empty_pool
from tests.streams.core.pool_steps import T0, Pool, after, job_of, moved, places


def _after_one_job_of(took_ms: int) -> Pool:
    """A pool in which ``first`` took so long on w1, which now runs ``now`` and has for nothing yet."""
    pool = Pool()
    first = job_of("first")
    pool.load(first, job_of("now", created_at=T0 + 1))
    pool.beat()
    pool.busy("w1", "first")
    started = after(first, state=State.PROCESSING, worker_id="w1")
    pool.move(started)
    pool.at += took_ms
    pool.beat()
    pool.move(after(started, state=State.COMPLETED))
    pool.busy("w1", "now")
    return pool


def test_places_follow_the_order_of_service() -> None:
    pool = Pool()
    pool.load(job_of("a", "ann"), job_of("b", "ann", created_at=T0 + 1), job_of("c", "bob", created_at=T0 + 2))
    assert places(pool.tick()) == [("a", 1, None), ("c", 2, None), ("b", 3, None)]


def test_nobody_watches_what_external_workers_run() -> None:
    pool = Pool(state=empty_pool(external_pool("echo")))
    pool.load(job_of("a", "ann", pool=external_pool("echo")))
    assert places(pool.tick()) == []


def test_only_what_changed_is_shown_again() -> None:
    pool = Pool()
    jobs = [job_of(f"j{n}", created_at=T0 + n) for n in range(3)]
    pool.load(*jobs)
    assert len(places(pool.tick())) == 3
    assert places(pool.tick()) == []
    pool.move(after(jobs[1], state=State.CANCELLED))
    assert places(pool.tick()) == [("j2", 2, None)]


def test_at_most_once_a_second() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    assert len(places(pool.tick())) == 1
    pool.load(job_of("a"), job_of("b", created_at=T0 + 1))
    assert places(pool.tick(400)) == []
    assert places(pool.tick(600)) == [("b", 2, None)]


def test_only_the_first_hundred() -> None:
    pool = Pool()
    pool.load(*[job_of(f"j{n:03}", created_at=T0 + n) for n in range(150)])
    assert [place for _, place, _ in places(pool.tick())] == list(range(1, 101))


def test_waits_come_from_finished_jobs_of_the_shape_and_the_workers_at_work() -> None:
    pool = _after_one_job_of(60_000)
    pool.load(job_of("now"), job_of("x", created_at=T0 + 2), job_of("y", created_at=T0 + 3))
    assert places(pool.tick()) == [("x", 1, 59_000), ("y", 2, 119_000)]
    pool.busy("w1", "now")
    assert places(pool.tick(10_000)) == []  # the wait runs down as promised: no news


def test_a_second_worker_shortens_the_wait() -> None:
    pool = _after_one_job_of(60_000)
    pool.load(job_of("now"), *[job_of(name, created_at=T0 + n) for n, name in enumerate("wxyz", 2)])
    pool.tick()
    pool.beat("w2")
    pool.busy("w2", "w")
    waits = {job_id: wait for job_id, _, wait in places(pool.tick())}
    assert waits["x"] == 58_000
    assert waits["y"] == 59_000


def test_no_wait_is_promised_without_workers_or_experience() -> None:
    pool = _after_one_job_of(60_000)
    pool.gone()
    pool.load(job_of("x", created_at=T0 + 2))
    assert places(pool.tick()) == [("x", 1, None)]


def test_another_shape_takes_its_own_time() -> None:
    pool = _after_one_job_of(60_000)
    small = GenerationRequest(prompt="p", num_frames=7, steps=10)
    job = job_of("s", request=small, state=State.PROCESSING, worker_id="w2", started_at=pool.at)
    pool.see(job)
    pool.at += 2_000
    pool.feed(moved(after(job, state=State.COMPLETED)))
    pool.see(job_of("s1", request=small, created_at=T0 + 5))
    pool.see(job_of("s2", request=small, created_at=T0 + 6))
    waits = {job_id: wait for job_id, _, wait in places(pool.tick())}
    assert waits["s2"] - waits["s1"] == 2_000  # type: ignore[operator]


def test_the_sequence_grows_across_restarts() -> None:
    before, later = Pool(), Pool(at=T0 + 60_000)
    sequences = []
    for pool in (before, later):
        pool.load(job_of("a"))
        sequences += [effect.message.sequence for effect in pool.tick() if isinstance(effect, ShowPlace)]
    assert sequences == sorted(set(sequences))
    assert len(sequences) == 2
