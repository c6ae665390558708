"""Dead letters as people and programs see them. Values hold prompts: they are shown only where they are asked for."""

import string
from collections.abc import Mapping
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations.core.dead_letters import By, Seen, as_it_was, times_replayed, user_of, why_not
from operations.deadletters.discarding import Discarded
from operations.deadletters.reading import Listing
from operations.deadletters.redriving import Redrive
from operations.replay import views as replays
from operations.replay.execute import Ended
from schemas.codec import Unreadable, decode
from schemas.instants import to_iso
from schemas.letters import NAMES
from schemas.replay_plans import Checkpoint, ReplayState
from schemas.shape import to_plain

WIDE = 200
DUMP_MAX = 4_096  # bytes of a value that is no text
HEADER_MAX = 400  # characters of a header
_GROUPS = 20
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
        "by": by.value,
        "groups": dict(counts.groups.most_common()),
    }


def print_listing(console: Console, found: Listing, by: By) -> None:
    """For people: the counts, then the newest."""
    counts = found.counts
    if not counts.letters:
        console.print("No dead letters.")
        return
    groups = Table(by.value, "letters", title=f"{counts.letters:,} dead letters", title_justify="left")
    for name, count in counts.groups.most_common(_GROUPS):
        groups.add_row(Text(_clean(name)), f"{count:,}")
    if len(counts.groups) > _GROUPS:
        rest = counts.letters - sum(count for _, count in counts.groups.most_common(_GROUPS))
        groups.add_row(f"({len(counts.groups) - _GROUPS:,} more)", f"{rest:,}")
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    console.print(groups)
    if not found.newest:
        return
    table = Table("id", "set aside", "state", "type", "from", "user", "reason")
    for one in found.newest:
        shown = row(one)
        words = (shown["id"], shown["at"], shown["state"], shown["type"], shown["origin"], shown["user"])
        table.add_row(*(Text(_clean(str(word)) if word else "–") for word in (*words, shown["reason"])))
    console.print(table)
    if counts.letters > len(found.newest):
        console.print(f"The newest {len(found.newest):,} of {counts.letters:,}; --limit shows more.")


def letter_plain(seen: Seen, *, value: bool) -> dict[str, Any]:
    """One letter whole; its message's members only with ``value``."""
    letter, record = seen.letter, seen.record
    read = decode(as_it_was(seen))
    shown = row(seen) | {
        "key": record.key.decode("utf-8", "replace"),
        "group": letter.group,
        "originAt": None if letter.timestamp is None else to_iso(min(letter.timestamp, 253_402_300_799_999)),
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
    shown = letter_plain(seen, value=value)
    headers, text = shown.pop("headers"), shown.pop("value", None)
    table = Table(show_header=False, title=f"Dead letter {seen.place}", title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, word in shown.items():
        if word is not None:
            text_of = ", ".join(f"{key} {one}" for key, one in word.items()) if isinstance(word, Mapping) else str(word)
            table.add_row(name, Text(_clean(text_of, lines=name == "stack")))
    console.print(table)
    listed = Table("header", "value", title="Headers", title_justify="left")
    for one in headers:
        listed.add_row(Text(_clean(one["name"])), Text(one["value"], overflow="fold"))
    console.print(listed)
    if text is None:
        console.print(f"Its value ({len(seen.record.value):,} bytes) may hold a prompt: --value shows it.")
    else:
        console.print(Text(text))


def print_redrive(console: Console, wanted: Redrive) -> None:
    """The dry run."""
    if wanted.plan is not None:
        replays.show(wanted.plan, console)
    if wanted.choice.refused:
        table = Table("can't be redriven", "letters", title="Left out", title_justify="left")
        for reason, count in wanted.choice.refused.most_common(_GROUPS):
            table.add_row(Text(_clean(reason)), f"{count:,}")
        console.print(table)
    if wanted.choice.left:
        console.print(f"{wanted.choice.left:,} more wait for the next redrive: one takes so many.")


def print_redriven(console: Console, wanted: Redrive, ended: Ended) -> None:
    """What came of it, in a line; and what was left out."""
    plan, done = ended.plan, ended.plan.checkpoint or Checkpoint()
    aside = f", {done.quarantined:,} put into the quarantine" if done.quarantined else ""
    back = f" {ended.came_back:,} of them came back." if ended.came_back else ""
    rest = "" if plan.state is ReplayState.DONE else f" `openv replay {plan.replay_id} --continue` goes on."
    words = f"{done.written:,} of {len(wanted.choice.chosen):,} dead letters redriven{aside}.{back}{rest}"
    console.print(Text(words), soft_wrap=True)
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
