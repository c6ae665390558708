"""The mail about a video that could not be made: short, plain text, without the prompt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.deliveries import Delivery


@dataclass(frozen=True, slots=True)
class Letter:
    """What is written; to whom is found out when it is sent."""

    message_id: str
    subject: str
    text: str


def letter_of(delivery: Delivery, origin: str | None, domain: str) -> Letter:
    """The letter of a delivery. The same id at every try: what arrives twice is shown once.

    ``origin``: the gateway's public address, for the link; ``domain``: the sender's.
    """
    data: Mapping[str, Any] = orjson.loads(delivery.body)["data"]
    error = data.get("error", {})
    lines = [
        "OpenV could not make one of your videos.",
        "",
        f"Why: {_line(error.get('message', 'not known'))}",
        f"Code: {error.get('code', 'not known')}",
        f"Video: {data['jobId']}",
        f"Asked for: {data['createdAt']}",
        "",
        "What was set aside for it was given back; you can try it again.",
    ]
    if origin is not None:
        lines += ["", f"{origin}/"]
    return Letter(f"<{delivery.delivery_id}@{domain}>", "Your video could not be made", "\n".join(lines) + "\n")


def _line(words: str) -> str:
    """On one line, whatever an engine has said."""
    return " ".join(words.split())
