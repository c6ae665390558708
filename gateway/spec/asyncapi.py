"""The AsyncAPI 3.0 document: the live edges with their frames, and the topics with their records.

Written from the gateway's side: it *receives* what clients and the ledger send. Topics that it never touches are
described without an operation.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, cast
from urllib.parse import urlsplit

from gateway.spec.described import Described, Key, words
from schemas.accounts import Account
from schemas.api import live
from schemas.api.answers import JobRecord
from schemas.api.frames import SOCKET_FRAMES, STREAM_FRAMES
from schemas.api.live import CLOSE_WORDS, AuthFrame, PingFrame, PongFrame, SubscribeFrame, may_reconnect
from schemas.events import AccountEvent, JobEvent
from schemas.topics import COMMANDS, EVENTS, PROGRESS, TOPICS, Topic

SENT_BY_CLIENTS: Mapping[str, type] = {
    "auth": AuthFrame,
    "subscribe": SubscribeFrame,
    "clientPing": PingFrame,
    "clientPong": PongFrame,
}
_BODIES: Mapping[type, type] = {JobEvent: JobRecord, AccountEvent: Account}
_CLOUD_EVENT: Mapping[str, Any] = {
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "description": "The same for the same message, however often it is sent."},
        "ce_type": {"type": "string"},
        "ce_source": {"type": "string", "format": "uri-reference"},
        "ce_subject": {"type": "string"},
        "ce_time": {"type": "string", "format": "date-time"},
        "openv_version": {"type": "string"},
        "traceparent": {"type": "string"},
    },
}


def asyncapi(origin: str) -> dict[str, Any]:
    """The document of a gateway that browsers reach at ``origin``."""
    described = Described(_models())
    frames = {_camel(frame.__name__): frame for frame in (*SOCKET_FRAMES, *STREAM_FRAMES)}
    messages = {
        **{name: _client_frame(name, model, described) for name, model in SENT_BY_CLIENTS.items()},
        **{name: _frame(name, model, described) for name, model in frames.items()},
        **{name: _record(name, message, described) for name, message in records(TOPICS.values()).items()},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "OpenV",
            "version": version("openv"),
            "description": "Live progress of videos, and the topics behind it.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(origin),
        "channels": {
            **_live_channels(),
            **{_channel_name(topic): _topic_channel(topic) for topic in TOPICS.values()},
        },
        "operations": _operations(),
        "components": {
            "schemas": described.components,
            "messages": messages,
            "messageTraits": {"cloudEvent": {"headers": dict(_CLOUD_EVENT)}},
        },
    }


def _models() -> Iterable[Key]:
    yield from ((model, "validation") for model in SENT_BY_CLIENTS.values())
    yield from ((frame, "serialization") for frame in {*SOCKET_FRAMES, *STREAM_FRAMES})
    for message in records(TOPICS.values()).values():
        yield _BODIES.get(message, message), "serialization"


def records(topics: Iterable[Topic]) -> dict[str, type]:
    """The messages of these topics by their versioned CloudEvents types."""
    made: dict[str, type] = {}
    for topic in topics:
        for message in topic.messages:
            names = getattr(message, "TYPES", None) or (cast("Any", message).TYPE,)
            made |= dict.fromkeys(names, message)
    return made


def _servers(origin: str) -> dict[str, Any]:
    where = urlsplit(origin)
    secure = where.scheme == "https"
    return {
        "sockets": {"host": where.netloc, "protocol": "wss" if secure else "ws"},
        "streams": {"host": where.netloc, "protocol": "https" if secure else "http"},
        "log": {
            "host": "kafka:9092",
            "protocol": "kafka",
            "description": "The deployment's own Kafka (`KAFKA_BOOTSTRAP_SERVERS`), never open to clients.",
        },
    }


def _live_channels() -> dict[str, Any]:
    closes = "\n".join(
        f"- {code.value}: {text}{'' if may_reconnect(code) else ' (final)'}" for code, text in CLOSE_WORDS.items()
    )
    return {
        "socket": {
            "address": "/ws",
            "servers": [_ref("servers", "sockets")],
            "title": "WebSocket",
            "description": f"```text\n{live.__doc__}```\n\nClose codes:\n\n{closes}",
            "messages": _messages((*SENT_BY_CLIENTS, *map(_camel, (one.__name__ for one in SOCKET_FRAMES)))),
            "bindings": {
                "ws": {
                    "method": "GET",
                    "query": {"type": "object", "properties": {"ticket": {"type": "string"}}},
                    "bindingVersion": "0.1.0",
                }
            },
        },
        "eventStream": {
            "address": "/api/live/events",
            "servers": [_ref("servers", "streams")],
            "title": "Server-sent events",
            "description": "Each event is named as its frame's `type`, its `data` is the frame, its `id` the frame's "
            "`position`. The request is described in `/openapi.json`.",
            "messages": _messages(map(_camel, (one.__name__ for one in STREAM_FRAMES))),
        },
    }


def _topic_channel(topic: Topic) -> dict[str, Any]:
    kept = {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms}
    return {
        "address": topic.name,
        "servers": [_ref("servers", "log")],
        "messages": _messages(records([topic])),
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": kept,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations() -> dict[str, Any]:
    return {
        "hearClient": _operation("receive", "socket", SENT_BY_CLIENTS, "What a client says over its socket."),
        "tellClient": _operation(
            "send", "socket", [_camel(one.__name__) for one in SOCKET_FRAMES], "What a socket is told."
        ),
        "stream": _operation(
            "send", "eventStream", [_camel(one.__name__) for one in STREAM_FRAMES], "What an event stream is told."
        ),
        "command": _operation("send", _channel_name(COMMANDS), records([COMMANDS]), "What is asked of the ledger."),
        "follow": _operation("receive", _channel_name(EVENTS), records([EVENTS]), "What the ledger has decided."),
        "watch": _operation("receive", _channel_name(PROGRESS), records([PROGRESS]), "What a watcher sees between."),
    }


def _operation(action: str, channel: str, names: Iterable[str], summary: str) -> dict[str, Any]:
    messages = [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]
    return {"action": action, "channel": _ref("channels", channel), "summary": summary, "messages": messages}


def _client_frame(name: str, model: type, described: Described) -> dict[str, Any]:
    return {"name": name, "summary": words(model.__doc__ or ""), "payload": described.of(model, "validation")}


def _frame(name: str, model: type, described: Described) -> dict[str, Any]:
    return {"name": name, "summary": words(model.__doc__ or ""), "payload": described.of(model, "serialization")}


def _record(name: str, message: type, described: Described) -> dict[str, Any]:
    return {
        "name": name,
        "summary": words(message.__doc__ or ""),
        "traits": [_ref("components/messageTraits", "cloudEvent")],
        "payload": described.of(_BODIES.get(message, message), "serialization"),
    }


def _messages(names: Iterable[str]) -> dict[str, Any]:
    return {name: _ref("components/messages", name) for name in names}


def _ref(place: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/{place}/{name}"}


def _channel_name(topic: Topic) -> str:
    return _camel(topic.name.removeprefix("openv.").title())


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]
