"""A job as an SDK worker is given it: the text of its input as it was stored, with the members that RunPod adds.

``gateway/core/runpod_wishes.py`` wrote that text: a compact JSON object whose first member is ``input``, followed by
``s3Config`` or nothing. It is not read here, whatever its size.
"""

import orjson

_INPUT = b'{"input":'


class BadText(ValueError):
    """No text that was ever stored as an input."""


def job_text(stored: bytes, job_id: str, execution_timeout_ms: int, webhook: str | None = None) -> bytes:
    """The JSON text of ``{input, s3Config?, id, policy, webhook?}``. Raises ``BadText``."""
    if not stored.startswith(_INPUT) or not stored.endswith(b"}"):
        raise BadText("an input that was stored in another form")
    told = {"id": job_id, "policy": {"executionTimeout": execution_timeout_ms}}
    ours = orjson.dumps(told if webhook is None else {**told, "webhook": webhook})
    # A view: the copy into the whole is the only one.
    return b"".join((memoryview(stored)[:-1], b",", memoryview(ours)[1:]))
