"""The window: a replay is exactly what came later, or an explicit no."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.core.window import Arrival, Cursor, Entry, Happened, Missing, Replay, Window, check_of, read_cursor

USERS = ("ada", "bob", "eve")
LANE_OF = {"ada": 0, "bob": 0, "eve": 1}
MAX_AGE = 1_000
MAX_BYTES = 4_000


def entry(
    partition: int, offset: int, user: str, at: int = 0, size: int = 10, *, shown: bool = True, epoch: str = ""
) -> Entry:
    happened = Happened("dev.openv.job.queued.v1", f"job-{user}", offset + 1, b"x" * size) if shown else None
    return Entry(Cursor(partition, offset, check_of(f"{epoch}{partition}:{offset}")), user, at, happened)


def window(*entries: Entry, max_bytes: int = 1_000_000) -> Window:
    made = Window(max_bytes, MAX_AGE)
    made.begin({0: 0, 1: 0})
    for one in entries:
        made.append(one, one.at)
    return made


def offsets(found: Replay | Missing) -> list[int]:
    assert isinstance(found, Replay)
    return [e.cursor.offset for e in found.entries]


def test_a_replay_is_what_the_user_missed_in_order_and_nobody_elses() -> None:
    first = entry(0, 0, "ada")
    made = window(first, entry(0, 1, "bob"), entry(0, 2, "ada"), entry(0, 3, "ada", shown=False), entry(0, 4, "ada"))
    found = made.after("ada", 0, first.cursor)
    assert offsets(found) == [2, 4]
    assert isinstance(found, Replay)
    assert found.head.offset == 4


def test_at_the_head_there_is_nothing_to_replay() -> None:
    made = window(entry(0, 0, "ada"), last := entry(0, 1, "bob"))
    assert offsets(made.after("ada", 0, last.cursor)) == []


def test_what_was_evicted_is_gone_but_just_before_the_lane_can_be_resumed() -> None:
    entries = [entry(0, n, "ada", at=n * 400) for n in range(5)]
    made = window(*entries)  # now 1600: entries at 0 and 400 are older than a second
    assert made.after("ada", 0, entries[0].cursor) is Missing.GONE
    assert offsets(made.after("ada", 0, entries[1].cursor)) == [2, 3, 4]


def test_a_window_emptied_by_age_still_resumes_at_its_head() -> None:
    made = window(last := entry(0, 0, "ada"))
    made.evict(now=MAX_AGE + 1)
    assert made.bytes == 0
    assert made.head(0) == last.cursor
    assert offsets(made.after("ada", 0, last.cursor)) == []
    made.append(entry(0, 1, "ada", at=MAX_AGE + 2), MAX_AGE + 2)
    assert offsets(made.after("ada", 0, last.cursor)) == [1]


def test_bytes_are_bounded_by_dropping_the_oldest_of_any_partition() -> None:
    made = window(max_bytes=1_000)
    made.append(old := entry(1, 0, "eve", at=1, size=300), 1)
    made.append(entry(0, 0, "ada", at=2, size=300), 2)
    assert made.bytes <= 1_000
    assert made.head(1) == old.cursor
    assert offsets(made.after("eve", 1, old.cursor)) == []
    made.append(entry(0, 1, "ada", at=3, size=300), 3)
    assert made.after("ada", 0, Cursor(0, -1, "00000000")) is Missing.GONE


def test_an_entry_larger_than_the_whole_window_leaves_it_empty_and_known() -> None:
    made = window(huge := entry(0, 0, "ada", size=5_000), max_bytes=1_000)
    assert made.bytes == 0
    assert offsets(made.after("ada", 0, huge.cursor)) == []


@pytest.mark.parametrize(
    ("user", "partition", "cursor", "missing"),
    [
        ("ada", 0, Cursor(0, 1, "deadbeef"), Missing.UNKNOWN),  # another log
        ("ada", 0, Cursor(1, 0, check_of("1:0")), Missing.UNKNOWN),  # another user's partition
        ("ada", 9, Cursor(9, 0, "deadbeef"), Missing.UNKNOWN),  # no such partition
        ("ada", 0, Cursor(0, 3, check_of("0:3")), Missing.AHEAD),
        ("ada", 0, Cursor(0, 400, check_of("0:400")), Missing.AHEAD),
    ],
)
def test_positions_that_can_not_be_vouched_for(user: str, partition: int, cursor: Cursor, missing: Missing) -> None:
    made = window(*(entry(0, n, "ada") for n in range(3)), entry(1, 0, "eve"))
    assert made.after(user, partition, cursor) is missing


def test_a_record_that_comes_twice_changes_nothing() -> None:
    made = window(entry(0, 0, "ada"), again := entry(0, 1, "ada"))
    before = made.bytes
    assert made.append(again, 0) is Arrival.KNOWN
    assert made.bytes == before


def test_a_jump_starts_the_lane_anew_and_says_so() -> None:
    first, other = entry(0, 0, "ada"), entry(1, 0, "eve")
    made = window(first, other)
    assert made.append(entry(0, 7, "ada"), 0) is Arrival.GAP
    assert made.after("ada", 0, first.cursor) is Missing.GONE
    assert offsets(made.after("eve", 1, other.cursor)) == []
    assert made.next_offsets() == {0: 8, 1: 1}


def test_a_topic_made_anew_is_another_log() -> None:
    first = entry(0, 0, "ada")
    made = window(first, entry(0, 1, "ada"))
    assert made.append(entry(0, 0, "ada", epoch="second life "), 0) is Arrival.GAP
    assert made.after("ada", 0, first.cursor) is Missing.UNKNOWN


def test_nothing_read_yet_vouches_for_nothing() -> None:
    made = Window(1_000, MAX_AGE)
    made.begin({0: 5})
    assert made.head(0) is None
    assert made.after("ada", 0, Cursor(0, 4, "deadbeef")) is Missing.GONE
    assert made.after("ada", 0, Cursor(0, 5, "deadbeef")) is Missing.AHEAD


@pytest.mark.parametrize("cursor", [Cursor(0, 0, "00000000"), Cursor(7, 123_456_789_012, "deadbeef")])
def test_a_cursor_reads_back_from_its_text(cursor: Cursor) -> None:
    assert read_cursor(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0:1",
        "0:1:xyz",
        "0:-1:deadbeef",
        "0:1:deadbeef\n",
        "a:1:deadbeef",
        "0:" + "9" * 19 + ":deadbeef",
        "٣:1:deadbeef",
    ],
)
def test_text_that_is_no_cursor(text: str) -> None:
    assert read_cursor(text) is None


class Windows(RuleBasedStateMachine):
    """Any interleaving of appends, jumps, rebirths and evictions, against a list of everything that ever was."""

    @initialize(starts=st.tuples(st.integers(0, 5), st.integers(0, 5)))
    def begin(self, starts: tuple[int, int]) -> None:
        self.made = Window(MAX_BYTES, MAX_AGE)
        self.made.begin(dict(enumerate(starts)))
        self.log: dict[int, list[Entry]] = {0: [], 1: []}
        self.next = dict(enumerate(starts))
        self.complete_from = dict(self.next)
        self.now, self.epoch = 0, 0

    @rule(user=st.sampled_from(USERS), shown=st.booleans(), size=st.integers(0, 1_500), later=st.integers(0, 400))
    def append(self, user: str, shown: bool, size: int, later: int) -> None:
        self.now += later
        partition = LANE_OF[user]
        one = entry(partition, self.next[partition], user, self.now, size, shown=shown, epoch=str(self.epoch))
        self.log[partition].append(one)
        self.next[partition] += 1
        assert self.made.append(one, self.now) is Arrival.NEW

    @rule(partition=st.integers(0, 1), by=st.integers(1, 4))
    def jump(self, partition: int, by: int) -> None:
        self._anew(partition, self.next[partition] + by)

    @rule(partition=st.integers(0, 1))
    def made_anew(self, partition: int) -> None:
        self.epoch += 1
        if self.next[partition] > 0:
            self._anew(partition, 0)

    @rule(partition=st.integers(0, 1))
    def repeat(self, partition: int) -> None:
        head = self.made.head(partition)
        if head is not None and self.log[partition] and self.log[partition][-1].cursor == head:
            assert self.made.append(self.log[partition][-1], self.now) is Arrival.KNOWN

    @rule(later=st.integers(0, 2_000))
    def evict(self, later: int) -> None:
        self.now += later
        self.made.evict(self.now)

    def _anew(self, partition: int, offset: int) -> None:
        user = next(u for u in USERS if LANE_OF[u] == partition)
        one = entry(partition, offset, user, self.now, epoch=f"{self.epoch}")
        self.log[partition].append(one)
        self.complete_from[partition] = len(self.log[partition]) - 1
        assert self.made.append(one, self.now) is Arrival.GAP
        self.next[partition] = offset + 1

    @invariant()
    def replays_are_whole_or_refused(self) -> None:
        if not hasattr(self, "made"):
            return
        assert 0 <= self.made.bytes <= MAX_BYTES
        for user in USERS:
            lane = self.log[LANE_OF[user]]
            for index, known in enumerate(lane):
                found = self.made.after(user, LANE_OF[user], known.cursor)
                if isinstance(found, Replay):
                    later = [e for e in lane[index + 1 :] if e.user_id == user and e.event is not None]
                    assert list(found.entries) == later
                    assert found.head == lane[-1].cursor
        for partition, lane in self.log.items():
            if lane:
                head = lane[-1].cursor
                assert self.made.head(partition) == head
                assert isinstance(self.made.after("ada", partition, head), Replay)


TestWindows = Windows.TestCase
TestWindows.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_newest_event_of_one_job() -> None:
    made = window(*(entry(0, n, "ada") for n in range(3)), entry(1, 0, "eve"))
    last = made.after("ada", 0, Cursor(0, 1, check_of("0:1")))
    assert isinstance(last, Replay)
    (wanted,) = [one.event for one in last.entries]
    assert wanted is not None
    assert made.newest("ada", 0, wanted.job_id) == wanted
    assert made.newest("ada", 0, "another job") is None
    assert made.newest("eve", 0, wanted.job_id) is None


def test_what_is_not_kept_any_more_is_not_the_newest_either() -> None:
    made = window(entry(0, 0, "ada", at=0), entry(0, 1, "ada", at=500), entry(0, 2, "bob", at=500))
    made.evict(MAX_AGE + 1)  # the first alone is too old
    newest = made.newest("ada", 0, "job-ada")
    assert newest is not None
    assert newest.version == 2
    made.evict(MAX_AGE + 501)
    assert made.newest("ada", 0, "job-ada") is None
    assert made._newest == {}


def test_after_a_jump_nothing_before_it_is_the_newest() -> None:
    made = window(entry(0, 0, "ada"), entry(1, 0, "eve"))
    assert made.append(entry(0, 7, "bob"), 0) is Arrival.GAP
    assert made.newest("ada", 0, "job-ada") is None
    assert made.newest("eve", 1, "job-eve") is not None
    made.begin({0: 0})
    assert made._newest == {}


def test_what_external_workers_run_is_replayed_to_nobody_and_known_all_the_same() -> None:
    first, hidden = entry(0, 0, "ada"), entry(0, 1, "ada", at=5)
    assert hidden.event is not None
    hidden = replace(hidden, event=replace(hidden.event, job_id="other", external=True))
    made = window(first, hidden, entry(0, 2, "ada", at=9))
    assert offsets(made.after("ada", 0, first.cursor)) == [2]
    assert made.newest("ada", 0, "other") == hidden.event
    made.evict(MAX_AGE + 6)
    assert made.newest("ada", 0, "other") is None
    made.evict(MAX_AGE + 10)
    assert made.bytes == 0
