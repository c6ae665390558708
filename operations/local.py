"""The local stack as other commands see it: where it is, how to speak to it, how to stop it.

``stack.json`` in the data directory (mode 0600) is written by ``openv up``; the directory's lock tells if that lives.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from operations.client import Endpoint
from operations.stack.alive import Life, lives
from operations.stack.data_dir import DataDir, is_data_dir
from operations.stack.errors import StackError
from schemas.ids import is_name

STACK_FILE = "stack.json"
SERVER_VARIABLES = ("KAFKA_BOOTSTRAP_SERVERS", "MONGODB_URI", "S3_ENDPOINT_URL")
DATABASE = "MONGODB_DATABASE"
_STOP_WITHIN_S = 20.0
_PARTS = {"mongodb": "mongo"}  # a server that the gateway misses, by the name of its part


def running_stack(data_dir: Path) -> dict[str, Any] | None:
    """What ``openv up`` wrote about itself, or None where none runs on this directory."""
    if not is_data_dir(data_dir):
        return None
    directory = DataDir(data_dir)
    return directory.read(STACK_FILE) if directory.holder() is not None else None


def endpoint(data_dir: Path, environ: Mapping[str, str]) -> Endpoint:
    """The gateway to speak to: OPENV_URL and OPENV_API_KEY, else the local stack's own. Raises ``StackError``."""
    url, key = environ.get("OPENV_URL"), environ.get("OPENV_API_KEY")
    if url:
        if not key:
            raise StackError("OPENV_URL is set without OPENV_API_KEY: set the key too (`openv keys create` makes one).")
        if not url.startswith(("http://", "https://")):
            raise StackError(f"OPENV_URL must begin with http:// or https://; it is {url}.")
        return Endpoint(url.rstrip("/"), key)
    stack = running_stack(data_dir)
    if stack is None:
        raise StackError(
            f"No OpenV runs on {data_dir.absolute()}: start one with `openv up`, name its folder (--data-dir), or set "
            "OPENV_URL and OPENV_API_KEY."
        )
    key = key or DataDir(data_dir).read("credentials.json").get("apiKey")
    if "url" not in stack or not key:
        raise StackError(
            f"The OpenV on {data_dir} is still starting. Try again when `openv status` says that it is ready."
        )
    return Endpoint(stack["url"], key)


def require_user_id(user: str) -> None:
    """Raises ``StackError`` for what can be nobody's id."""
    if not is_name(user):
        raise StackError("A user id has 1 to 128 letters, digits and . _ : @ | -, and begins with a letter or digit.")


def server_environment(data_dir: Path) -> None:
    """Put the local stack's servers into the environment, unless the environment names servers itself.

    A database that it names stays named: whoever tries a restore in another one must not meet the stack's own.
    """
    if any(os.environ.get(name) for name in SERVER_VARIABLES):
        return
    stack = running_stack(data_dir)
    if stack is None or "environment" not in stack:
        raise StackError(
            f"No OpenV runs on {data_dir.absolute()}: start one with `openv up`, name its folder (--data-dir), or set "
            f"{', '.join(SERVER_VARIABLES)}."
        )
    database = os.environ.get(DATABASE, "").strip()
    os.environ.update(stack["environment"] | ({DATABASE: database} if database else {}))


def stop(data_dir: Path) -> str:
    """SIGTERM to the stack's supervisor, and wait until it has gone. Returns a sentence."""
    holder = DataDir(data_dir).holder() if is_data_dir(data_dir) else None
    if holder is None:
        return f"No OpenV runs on {data_dir}."
    try:
        os.kill(holder, signal.SIGTERM)
    except ProcessLookupError:
        return f"No OpenV runs on {data_dir}."  # it has just ended by itself
    except PermissionError:
        raise StackError(f"Process {holder} belongs to another user, who can stop it.") from None
    deadline = time.monotonic() + _STOP_WITHIN_S
    while time.monotonic() < deadline:
        if DataDir(data_dir).holder() != holder:
            return f"Stopped (process {holder}). The data stays in {data_dir}."
        time.sleep(0.05)
    raise StackError(f"Process {holder} does not stop. End it with `kill -9 {holder}`; its parts end with it.")


def show_status(data_dir: Path, *, as_json: bool) -> tuple[str, bool]:
    """The stack's parts and what they say themselves, as text or JSON, and whether all of them are ready."""
    stack = running_stack(data_dir)
    if stack is None:
        return (json.dumps({"running": False}) if as_json else f"No OpenV runs on {data_dir}."), False
    told = {one.part: one for one in asyncio.run(lives(stack, data_dir / "logs"))}
    gateway_ready, missing = _gateway_ready(stack.get("url"))
    unwell = [one for one in told.values() if not one.is_well]
    missing = list(dict.fromkeys([*(_PARTS.get(name, name) for name in missing), *(one.part for one in unwell)]))
    parts = {name: _with_life(part, told.get(name)) for name, part in stack.get("parts", {}).items()}
    shown = {
        "running": True,
        "ready": gateway_ready and not unwell,
        "missing": missing,
        "pid": stack.get("pid"),
        "url": stack.get("url"),
        "adminUrl": stack.get("adminUrl"),
        "parts": parts,
    }
    if as_json:
        return json.dumps(shown, indent=2), bool(shown["ready"])
    lines = [f"OpenV runs on {data_dir} (process {shown['pid']}), {shown['url'] or 'starting'}."]
    for name, part in parts.items():
        word = part["state"] if part["answers"] or part["state"] != "ready" else "UNWELL"
        lines.append(f"  {name:<12} {word:<10} {part.get('metrics', '')}".rstrip())
    lines += [f"{one.part}: {one.words}. → {one.mend}" for one in unwell]
    if shown["adminUrl"]:
        lines.append(f"The admin API is at {shown['adminUrl']}.")
    lines.append("Ready." if shown["ready"] else f"Not ready: {', '.join(missing) or 'it is starting'}.")
    return "\n".join(lines), bool(shown["ready"])


def _with_life(part: Mapping[str, Any], life: Life | None) -> dict[str, Any]:
    """The part as the supervisor has it, with whether it answers, and if not, what is wrong and what mends it."""
    wrong = {"problem": life.words, "mend": life.mend} if life is not None and not life.is_well else {}
    return {**part, "answers": not wrong, **wrong}


def _gateway_ready(url: str | None) -> tuple[bool, list[str]]:
    if url is None:
        return False, []
    try:
        answer = httpx.get(f"{url}/readyz", timeout=5, trust_env=False)
        body = answer.json()
    except (httpx.HTTPError, ValueError):
        return False, ["gateway"]
    return answer.is_success, list(body.get("missing") or [])
