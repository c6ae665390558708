"""The AsyncAPI document: whole, its references lead somewhere, and what is really sent and recorded fits it."""

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from gateway.spec.asyncapi import asyncapi
from schemas.api import live
from schemas.api.frames import SOCKET_FRAMES, STREAM_FRAMES
from schemas.api.live import CLOSE_WORDS, CloseCode
from schemas.codec import TYPE_NAMES
from schemas.documents import job_document, job_json
from schemas.events import JobEvent
from schemas.phases import Phase
from schemas.progress import AttemptPreview, AttemptProgress, QueuePlace
from schemas.shape import to_json
from schemas.topics import TOPICS
from tests.gateway.test_openapi import references
from tests.gateway.world import World, job, with_files

HISTORIES = Path(__file__).parents[1] / "histories"
JOB = with_files(job("00000000-0000-4000-8000-000000000001"))
PROGRESS = AttemptProgress(
    user_id="ada", job_id=JOB.job_id, sequence=1, attempt=1, worker_id="w", phase=Phase.DENOISE, step=1, steps=2,
    fraction=0.5, elapsed_ms=10,
)  # fmt: skip
PREVIEW = AttemptPreview(
    user_id="ada", job_id=JOB.job_id, sequence=1, attempt=1, worker_id="w", step=1, steps=2, jpeg="AAAA"
)
PLACE = QueuePlace(user_id="ada", job_id=JOB.job_id, sequence=1, attempt=1, place=3)
WRITTEN = {
    "welcome": [live.welcome("ada", 20_000), live.welcome("ada", 20_000, 60_000)],
    "snapshot": [live.snapshot([], None), live.snapshot([job_document(JOB)], "0:1:a")],
    "resumed": [live.resumed()],
    "event": [live.event(JobEvent(JOB).type, "0:1:a", job_json(JOB))],
    "progress": [live.progress(AttemptProgress.TYPE, to_json(PROGRESS))],
    "preview": [live.progress(AttemptPreview.TYPE, to_json(PREVIEW))],
    "place": [live.progress(QueuePlace.TYPE, to_json(PLACE))],
    "expiring": [live.expiring(20_000)],
    "ping": [live.ping(None), live.ping("0:1:a")],
    "pong": [live.pong()],
    "error": [live.error("bad_message", "not JSON")],
    "close": [live.close(code) for code in CloseCode],
}


@cache
def document() -> dict[str, Any]:
    return asyncapi("http://videos.test")


@cache
def closed() -> dict[str, Any]:
    """The components, none of which has members besides those that it names."""
    made: dict[str, Any] = deepcopy(dict(document()["components"]["schemas"]))
    for schema in made.values():
        if "properties" in schema and "additionalProperties" not in schema:
            schema["additionalProperties"] = False
    return made


def wrong(message: str, value: Any) -> list[str]:
    payload = document()["components"]["messages"][message]["payload"]
    checker = jsonschema_rs.Draft202012Validator(
        {**payload, "components": {"schemas": closed()}}, validate_formats=True
    )
    return [f"{list(error.instance_path)}: {error.message[:200]}" for error in checker.iter_errors(value)]


def test_every_reference_leads_somewhere_and_nothing_lies_about_unused() -> None:
    used = set(references(document()))
    for reference in used:
        node: Any = document()
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    for kind in ("schemas", "messages"):
        assert {f"#/components/{kind}/{name}" for name in document()["components"][kind]} <= used


def test_it_has_the_form_of_asyncapi_3() -> None:
    whole = document()
    assert whole["asyncapi"] == "3.0.0"
    assert set(whole) == {
        "asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components",
    }  # fmt: skip
    assert set(whole["info"]) >= {"title", "version"}
    assert all(set(server) >= {"host", "protocol"} for server in whole["servers"].values())
    for channel in whole["channels"].values():
        assert set(channel) <= {"address", "title", "description", "servers", "messages", "bindings"}
        assert all(set(one) == {"$ref"} for one in (*channel["servers"], *channel["messages"].values()))
    for operation in whole["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = operation["channel"]["$ref"]
        assert all(one["$ref"].startswith(f"{channel}/messages/") for one in operation["messages"])


def test_every_topic_is_a_channel_with_all_its_messages() -> None:
    channels = {one["address"]: one for one in document()["channels"].values()}
    assert set(channels) - {"/ws", "/api/live/events"} == set(TOPICS)
    for topic in TOPICS.values():
        binding = channels[topic.name]["bindings"]["kafka"]
        assert (binding["partitions"], binding["topicConfiguration"]["retention.ms"]) == (
            topic.partitions,
            topic.retention_ms,
        )
    named = {name for topic in TOPICS for name in channels[topic]["messages"]}
    assert named == set(TYPE_NAMES)


def histories() -> Iterator[tuple[str, Any]]:
    for path in sorted(HISTORIES.glob("*.json")):
        yield path.stem, json.loads(path.read_text())


@pytest.mark.parametrize(("name", "recorded"), list(histories()))
def test_what_was_ever_recorded_fits_its_message(name: str, recorded: dict[str, Any]) -> None:
    assert wrong(name, json.loads(recorded["value"])) == []
    headers = document()["components"]["messageTraits"]["cloudEvent"]["headers"]
    written = {key: value for key, value in recorded["headers"] if key != "content-type"}
    assert list(jsonschema_rs.Draft202012Validator(headers).iter_errors(written)) == []
    assert set(written) <= set(headers["properties"])
    assert recorded["topic"] in {topic.name for topic in TOPICS.values()}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_frame_fits_its_message(name: str) -> None:
    for frame in WRITTEN[name]:
        assert wrong(name, json.loads(frame)) == []
        assert wrong(name, {**json.loads(frame), "more": 1})


def test_every_frame_that_is_written_is_described_and_no_other() -> None:
    shapes = {one.__name__.lower() for one in (*SOCKET_FRAMES, *STREAM_FRAMES)}
    assert shapes == set(WRITTEN)
    functions = {name for name, one in vars(live).items() if getattr(one, "__module__", "") == live.__name__}
    assert {"welcome", "snapshot", "resumed", "event", "expiring", "ping", "pong", "error", "close"} <= functions
    assert set(live.PROGRESS_FRAMES.values()) <= shapes


def test_every_close_code_is_told_with_its_words() -> None:
    told = document()["channels"]["socket"]["description"]
    for code, words in CLOSE_WORDS.items():
        assert f"- {int(code)}: {words}" in told


async def test_it_is_served(world: World) -> None:
    async with world.client(None) as http:
        served = await http.get("/asyncapi.json")
    assert (served.headers["content-type"], served.json()) == ("application/json", document())
    assert served.json()["servers"]["sockets"] == {"host": "videos.test", "protocol": "ws"}
    assert asyncapi("https://v.test")["servers"]["sockets"] == {"host": "v.test", "protocol": "wss"}
