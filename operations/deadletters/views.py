"""Dead letters as people and programs see them. Values hold prompts: they are shown only where they are asked for."""

import string
from typing import Any

import orjson
from rich.console import Console
from rich.text import Text

from operations.core.columns import Column
from operations.core.counting import several
from operations.core.dead_letters import By, Seen, as_it_was, times_replayed, user_of, why_not
from operations.deadletters.discarding import Discarded
from operations.deadletters.reading import Listing
from operations.deadletters.redriving import Redrive
from operations.replay import views as replays
from operations.replay.execute import Ended
from operations.tables import Cell, Lines, brief_type, note, print_about, print_line, print_rows, when
from schemas.codec import Unreadable, decode
from schemas.instants import LAST, to_iso
from schemas.letters import NAMES
from schemas.replay_plans import Checkpoint, ReplayState
from schemas.shape import to_plain

DUMP_MAX = 4_096  # bytes of a value that is no text
HEADER_MAX = 400  # characters of a header
_GROUPS = 20
_GROUPS_NAMED = 5
REFUSED = (
    "What is left out stays: `openv deadletters edit ID` sends one as it should have been, "
    '`openv deadletters discard ID --reason "…"` says that nothing will be done with it.'
)
_LETTERS = (
    Column("id"),
    Column("set aside", 2),
    Column("state", 4),
    Column("type", 3, folds=18),
    Column("from", 6),
    Column("user", 5),
    Column("reason", 1, folds=28),
)
_HEADERS = (Column("header"), Column("value", folds=30))
_NUMBERS = frozenset(name for kind in ("partition", "offset", "timestamp") for name in NAMES[kind])
_PRINTABLE = frozenset(string.printable.encode()) - frozenset(b"\t\n\r\x0b\x0c")


def row(seen: Seen) -> dict[str, Any]:
    """One line of a list, for programs."""
    return {
        "id": seen.place,
        "at": to_iso(max(0, seen.record.timestamp)),
        "state": seen.standing.value,
        "type": seen.type,
        "topic": seen.letter.topic,
        "origin": seen.letter.origin,
        "user": user_of(seen.record),
        "reason": seen.reason,
        "bytes": len(seen.record.value),
        "timesReplayed": times_replayed(seen.record),
    }


def listing_plain(found: Listing, by: By) -> dict[str, Any]:
    """A list and its counts."""
    counts = found.counts
    return {
        "letters": [row(one) for one in found.newest],
        "count": counts.letters,
        "states": dict(counts.standings.most_common()),
        "waiting": dict(found.waiting.most_common()),
        "by": by.value,
        "groups": dict(counts.groups.most_common()),
    }


def print_listing(console: Console, found: Listing, by: By) -> None:
    """For people: the counts, then the newest."""
    counts = found.counts
    rows = [(f"{count:,}", name) for name, count in counts.groups.most_common(_GROUPS)]
    if len(counts.groups) > _GROUPS:
        rest = counts.letters - sum(count for _, count in counts.groups.most_common(_GROUPS))
        rows.append((f"{rest:,}", f"({len(counts.groups) - _GROUPS:,} more)"))
    title = f"{several(counts.letters, 'dead letter')}, by {by.value}"
    print_rows(console, (Column("letters", right=True), Column(by.value, folds=20)), rows, title)
    if found.newest:
        print_rows(console, _LETTERS, [_cells(one) for one in found.newest], "The newest")
    if found.newest and counts.letters > len(found.newest):
        note(f"The newest {len(found.newest):,} of {counts.letters:,}; --limit shows more.")
    _note_waiting(found)


def print_nothing(console: Console, found: Listing, others: tuple[By, Listing] | None) -> None:
    """Where none is meant: in what states those are that would be; or ``others``: all, counted by what was looked
    for."""
    if found.passed:
        states = ", ".join(f"{count:,} {state}" for state, count in found.passed.most_common())
        words = f"None in the state that was asked for, but {states}: `openv deadletters list --state all` shows them."
    elif others is not None and others[1].counts.letters:
        by, counts = others[0], others[1].counts
        there = "; ".join(f"{count:,} {name}" for name, count in counts.groups.most_common(_GROUPS_NAMED))
        more = len(counts.groups) - _GROUPS_NAMED
        rest = f"; and {more:,} more" if more > 0 else ""
        words = f"None matches. There are, of whatever state, by {by.value}: {there}{rest}."
    else:
        words = "No dead letters."
    print_line(console, words)
    _note_waiting(found)


def _note_waiting(found: Listing) -> None:
    for replay_id, count in found.waiting.most_common(_GROUPS_NAMED):
        how = f"`openv replay {replay_id} --continue`"
        note(f"{several(count, 'more is', 'more are')} in {replay_id}, which is not over: {how}.")


def _cells(seen: Seen) -> tuple[Cell, ...]:
    shown = row(seen)
    about = (brief_type(shown["type"]), shown["origin"] or "", shown["user"] or "", shown["reason"])
    return shown["id"], when(max(0, seen.record.timestamp)), shown["state"], *about


def letter_plain(seen: Seen, *, value: bool) -> dict[str, Any]:
    """One letter whole; its message's members only with ``value``."""
    letter, record = seen.letter, seen.record
    read = decode(as_it_was(seen))
    shown = row(seen) | {
        "key": record.key.decode("utf-8", "replace"),
        "group": letter.group,
        "originAt": None if letter.timestamp is None else to_iso(min(letter.timestamp, LAST)),
        "exception": letter.exception,
        "cause": letter.cause,
        "message": letter.message,
        "stack": letter.stack,
        "cutFrom": letter.cut_from,
        "traceparent": record.header("traceparent"),
        "readable": not isinstance(read, Unreadable),
        "unreadable": read.reason if isinstance(read, Unreadable) else None,
        "notRedrivable": why_not(seen),
        "headers": [{"name": name, "value": header_text(name, one)} for name, one in record.headers],
        "disposition": None if seen.disposition is None else to_plain(seen.disposition),
    }
    if value:
        shown["value"] = value_text(record.value)
    return shown


def print_letter(console: Console, seen: Seen, *, value: bool) -> None:
    """One letter whole, for people."""
    headers = [(name, header_text(name, one)) for name, one in seen.record.headers]
    print_about(console, about(seen), f"Dead letter {seen.place}")
    print_rows(console, _HEADERS, headers, "Headers")
    if not value:
        note(f"Its value ({several(len(seen.record.value), 'byte')}) may hold a prompt: --value shows it.")
    else:
        console.print(Text(value_text(seen.record.value)), soft_wrap=True)


def about(seen: Seen) -> dict[str, Lines]:
    """What is known of it, each thing once, by names for people."""
    letter, record = seen.letter, seen.record
    key, user = record.key.decode("utf-8", "replace"), user_of(record)
    read, why = decode(as_it_was(seen)), why_not(seen)
    unreadable = read.reason if isinstance(read, Unreadable) else None
    if why is not None and unreadable == seen.reason:
        why = "for that reason" if unreadable in why else why
    recorded = None if letter.timestamp is None else to_iso(min(max(0, letter.timestamp), LAST))
    rows: dict[str, Lines | None] = {
        "state": _state(seen),
        "reason": seen.reason,
        "message": letter.message if letter.message != seen.reason else None,
        "can be redriven": "yes" if why is None else f"no: {why}",
        "can't be read": unreadable if unreadable and unreadable not in f"{seen.reason} {why}" else None,
        "type": seen.type,
        "from": letter.origin or letter.topic,
        "recorded": recorded,
        "set aside": to_iso(min(max(0, record.timestamp), LAST)),
        "set aside by": letter.group,
        "user": user,
        "key": key if key != user else None,
        "size": several(len(record.value), "byte"),
        "cut": None
        if letter.cut_from is None
        else f"only its beginning is kept: it had {several(letter.cut_from, 'byte')}",
        "replayed": several(times_replayed(record), "time") if times_replayed(record) else None,
        "exception": letter.exception,
        "cause": letter.cause,
        "trace": record.header("traceparent"),
        "stack": None if letter.stack is None else tuple(letter.stack.expandtabs().splitlines()),
    }
    return {name: said for name, said in rows.items() if said}


def _state(seen: Seen) -> str:
    said = seen.disposition
    if said is None:
        return seen.standing.value
    replay = "" if said.replay_id is None else f", as {said.replay_id}"
    reason = f": {said.reason}" if said.reason else ""
    return f"{seen.standing.value}, by {said.actor} at {to_iso(said.at)}{replay}{reason}"


def print_redrive(console: Console, wanted: Redrive) -> None:
    """The dry run."""
    if wanted.plan is not None:
        replays.show(wanted.plan, console)
    if wanted.choice.refused:
        rows = [(f"{count:,}", reason) for reason, count in wanted.choice.refused.most_common(_GROUPS)]
        print_rows(console, (Column("letters", right=True), Column("why", folds=20)), rows, "Left out")
        if wanted.plan is not None or wanted.choice.chosen:
            note(REFUSED)
    if wanted.choice.left:
        note(f"{several(wanted.choice.left, 'more waits', 'more wait')} for the next redrive: one takes so many.")


def print_redriven(console: Console, wanted: Redrive, ended: Ended) -> None:
    """What came of it, in a line; and what was left out."""
    plan, done = ended.plan, ended.plan.checkpoint or Checkpoint()
    aside = f", {done.quarantined:,} put into the quarantine" if done.quarantined else ""
    back = f" {ended.came_back:,} of them came back as dead letters." if ended.came_back else ""
    rest = "" if plan.state is ReplayState.DONE else f" `openv replay {plan.replay_id} --continue` goes on."
    words = f"{done.written:,} of {several(len(wanted.choice.chosen), 'dead letter')} redriven{aside}.{back}{rest}"
    print_line(console, words)
    print_redrive(console, Redrive(wanted.choice, None))


def discarded_plain(came: Discarded, *, executed: bool) -> dict[str, Any]:
    """What was discarded, or would be; ``expect``: what discarding just these takes."""
    expect = None if executed or came.expected is None else str(came.expected)
    return {"letters": came.letters, "taken": came.taken, "executed": executed, "expect": expect}


def redrive_plain(wanted: Redrive) -> dict[str, Any]:
    """The dry run, for programs."""
    choice = wanted.choice
    return {
        "letters": len(choice.chosen),
        "refused": dict(choice.refused.most_common()),
        "left": choice.left,
        "replay": None if wanted.plan is None else replays.plain(wanted.plan),
    }


def header_text(name: str, value: bytes) -> str:
    """A header's value as people read it: big-endian numbers of letters as numbers, bytes that are no text in hex."""
    if name in _NUMBERS and len(value) in (4, 8) and not value.isdigit():
        return str(int.from_bytes(value, "big", signed=True))
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.hex(" ")
    return _clean(text[:HEADER_MAX]) + ("…" if len(text) > HEADER_MAX else "")


def value_text(value: bytes) -> str:
    """JSON indented, other text as it is, bytes that are no text as a dump of their beginning."""
    try:
        return orjson.dumps(orjson.loads(value), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        pass
    try:
        return _clean(value.decode(), lines=True)
    except UnicodeDecodeError:
        return dump(value)


def dump(value: bytes) -> str:
    """Offset, sixteen bytes, what of them can be printed; as ``hexdump -C``."""
    lines = []
    for at in range(0, min(len(value), DUMP_MAX), 16):
        some = value[at : at + 16]
        text = "".join(chr(one) if one in _PRINTABLE else "." for one in some)
        lines.append(f"{at:08x}  {some.hex(' '):<47}  |{text}|")
    if len(value) > DUMP_MAX:
        lines.append(f"({len(value) - DUMP_MAX:,} bytes more)")
    return "\n".join(lines)


def _clean(text: str, *, lines: bool = False) -> str:
    """Without what would move a terminal's cursor: whoever wrote the record chose it."""
    return "".join(one if one.isprintable() or (lines and one in "\n\t") else "�" for one in text)
