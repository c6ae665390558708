"""What nobody caught, and what libraries log of it: its type and place, never its words, of every process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOWHERE = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "MONGODB_URI": "mongodb://127.0.0.1:9",
    "S3_ENDPOINT_URL": "http://127.0.0.1:9",
    "S3_ACCESS_KEY_ID": "id",
    "S3_SECRET_ACCESS_KEY": "secret",
}
REPOSITORY = Path(__file__).parents[2]
WISH = "a secret wish"
# It is put together where it is used, so that no line of the source that a traceback shows holds it.
BEGIN = """
import asyncio, gc, logging, sys, threading
from repo import last_resort, logs
wish = " ".join(("a", "secret", "wish"))

async def boom(words):
    raise ValueError(words)

class Bad:
    def __repr__(self):
        return wish

    def __del__(self):
        raise ValueError(wish)

    def call(self):
        raise ValueError(wish)

async def unretrieved():
    task = asyncio.create_task(boom(wish), name="forgotten")
    asyncio.get_running_loop().call_soon(Bad.call, Bad())
    asyncio.get_running_loop().call_soon(int, wish)
    told = asyncio.create_task(boom(wish))
    await asyncio.wait({task, told})
    logging.getLogger("library").warning("crashed: %s, %r", told.exception(), told)
    del task
    gc.collect()
"""


def said(code: str, expected: int = 0, **environment: str) -> str:
    """What a process of this code writes to standard error."""
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code], env=own | environment, cwd=REPOSITORY, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == expected, done.stderr
    assert done.stdout == ""
    assert WISH not in done.stderr
    return done.stderr


@pytest.mark.parametrize("kind", ["json", "pretty"])
def test_what_nobody_caught_is_told_without_its_words(kind: str) -> None:
    text = said(
        """
logs.set_up("gateway")
asyncio.run(last_resort.attended(unretrieved()))
asyncio.run(unretrieved())
thread = threading.Thread(target=Bad().call, name="helper")
thread.start(); thread.join()
logging.getLogger("library").warning("%d", wish)
logging.getLogger("library").warning("%(it)s happened", {"it": ValueError(wish)})
raise LookupError(wish)
""",
        expected=1,
        OPENV_LOG_FORMAT=kind,
    )
    for event in ("process_failed", "thread_failed", "task_failed", "exception_ignored", "LookupError", "in boom"):
        assert event in text, event
    assert "a log line of library is lost: TypeError" in text
    if kind == "json":
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        (died,) = [one for one in lines if one["event"] == "process_failed"]
        assert died["level"] == "critical"
        assert died["exception"].endswith("LookupError")
        assert [one["thread"] for one in lines if one["event"] == "thread_failed"] == ["helper"]
        failed = [one for one in lines if one["event"] == "task_failed"]
        assert [one["task"] for one in failed if "task" in one] == ["forgotten"]
        assert {one["said"] for one in failed if "task" not in one} == {
            "Exception in callback Bad.call",
            "Exception in callback int",
        }
        apart = [one["event"] for one in lines if one.get("logger") == "asyncio"]
        assert "Task exception was never retrieved" in apart, "of a loop that nobody attends"
        assert "crashed: ValueError, 'boom'" in [one["event"] for one in lines]
        assert "ValueError happened" in [one["event"] for one in lines]


@pytest.mark.parametrize(
    ("module", "environment"),
    [
        ("gateway", {"OPENV_PORT": "0"}),
        ("streams", {}),
        ("inference_worker", {"OPENV_ENGINE": "tiny"}),
        ("operations.admin", {"OPENV_ADMIN_PORT": "0"}),
    ],
)
def test_every_part_dies_without_words(module: str, environment: dict[str, str]) -> None:
    """Whatever escapes its loop."""
    code = f"""
import runpy
def run(main):
    main.close()
    raise ValueError(wish)
asyncio.run = run
sys.argv = ["part"]
runpy.run_module("{module}", run_name="__main__")
"""
    assert '"process_failed"' in said(code, 1, OPENV_LOG_FORMAT="json", **NOWHERE, **environment)


def test_so_does_the_models_process() -> None:
    code = """
import runpy, socket
here, there = socket.socketpair()
def fail(*_):
    raise ValueError(wish)
sys.argv = ["child", "--engine", "tests.inference_worker.no_such:engine", "--fd", str(there.detach())]
from inference_worker import child
child.serve = fail
child.main(sys.argv[1:])
"""
    lines = [json.loads(line) for line in said(code, 1, OPENV_LOG_FORMAT="json").splitlines()]
    assert [(one["event"], one["part"]) for one in lines] == [("process_failed", "model")]


def test_a_command_at_a_terminal_dies_without_words() -> None:
    code = """
import structlog, typer
from operations.running import run
app = typer.Typer(pretty_exceptions_enable=False)

async def told():
    try:
        await boom(wish)
    except ValueError:
        structlog.get_logger().exception("handled")
    raise LookupError(wish)

@app.command()
def command() -> None:
    run(told())

app([])
"""
    text = said(code, expected=1)
    for word in ("handled", "process_failed", "LookupError", "in boom"):
        assert word in text
