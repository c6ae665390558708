"""The body of ``POST /v1/videos``: JSON, or the form that OpenAI's SDKs send, which is read without taking any file."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from gateway.core.openai_request import NO_REFERENCES
from gateway.errors import Problem, Refused
from gateway.http.bodies import read_json

FORM = "multipart/form-data"
FORM_BYTES = 256 * 1024  # without files; a form is parsed in Python, which takes longer than JSON
FIELDS_MAX = 64
FILE_BYTES = (
    32 * 1024 * 1024
)  # of a form with a file that is read to its end, so that its sender hears why it is refused
_REFERENCE = "input_reference"
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")  # RFC 2046, section 5.1.1


async def read_body(request: Request, limit: int) -> Any:
    """The members of the body, of a form as text. Raises ``Refused``: over ``limit`` bytes, unreadable, with a file."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        return await _read_form(request, min(limit, FORM_BYTES))
    return await read_json(request, limit)


async def _read_form(request: Request, limit: int) -> dict[str, Any]:
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise Refused(Problem.BAD_FORM, words="The form's Content-Type names no boundary, or none that can be used.")
    # The client's charset is not taken: there are codecs that make text of bytes which can't be written down again.
    headers = Headers({"content-type": f'{FORM}; boundary="{boundary}"'})
    stream = request.stream()
    try:
        form = await MultiPartParser(headers, _bounded(stream, limit), max_files=0, max_fields=FIELDS_MAX).parse()
    except MultiPartException as error:
        if not error.message.startswith("Too many files"):
            raise Refused(Problem.BAD_FORM, words=f"The form can't be read: {error.message}") from None
    except ClientDisconnect:
        raise Refused(Problem.BAD_BODY) from None
    else:
        return _members(form.multi_items())
    await drain(stream)
    raise Refused(Problem.INVALID, words=f"{_REFERENCE} {NO_REFERENCES}", param=_REFERENCE)


def _members(items: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(items)
    if len(members) < len(items):
        raise Refused(Problem.BAD_FORM, words="The form has a member twice.")
    # An empty member of a form is one that was not filled in.
    return {name: value for name, value in members.items() if value != "" or name == "prompt"}


async def _bounded(stream: AsyncIterator[bytes], limit: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limit:
            raise Refused(Problem.TOO_LARGE, limitBytes=limit)
        yield chunk


async def drain(stream: AsyncIterator[bytes]) -> None:
    """Read the rest, keeping nothing, as far as it makes sense."""
    size = 0
    with suppress(ClientDisconnect):
        async for chunk in stream:
            size += len(chunk)
            if size > FILE_BYTES:
                return
