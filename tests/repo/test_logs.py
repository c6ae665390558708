"""Log lines of every part: ours and the libraries' through one chain; levels, formats, no values at debug.

In a process of its own each: logging is set up once a process.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from repo import logs

REPOSITORY = Path(__file__).parents[2]


def said(code: str, **environment: str) -> str:
    """What a process that sets up logging and runs the code writes to standard error."""
    program = f"import logging, structlog; from repo import logs; logs.set_up('gateway')\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr


def test_ours_and_the_libraries_lines_are_one_json_object_each() -> None:
    code = """
structlog.get_logger("mine").info("said", job_id="j1")
logging.getLogger("library").warning("count %d", 3)
logging.getLogger("library").debug("unheard")
"""
    first, second = map(json.loads, said(code).splitlines())
    assert (first["event"], first["job_id"], first["part"], first["level"]) == ("said", "j1", "gateway", "info")
    assert (second["event"], second["part"], second["level"]) == ("count 3", "gateway", "warning")
    assert first["timestamp"].endswith("Z")


def test_client_libraries_do_not_tell_values_even_at_debug() -> None:
    code = """
structlog.get_logger("mine").debug("heard")
for name in ("aiokafka.producer", "faust.app", "pymongo.command", "botocore.auth"):
    logging.getLogger(name).debug("a prompt")
    logging.getLogger(name).info("a prompt")
"""
    lines = said(code, OPENV_LOG_LEVEL="debug").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["heard"]


@pytest.mark.parametrize("kind", ["json", "pretty"])
def test_a_traceback_shows_neither_variables_nor_what_was_raised(kind: str) -> None:
    code = """
def fail(prompt):
    try:
        {}[prompt]
    except KeyError as error:
        raise ExceptionGroup(prompt, [ValueError(prompt), TypeError("no such argument")]) from error
for log in (structlog.get_logger("mine"), logging.getLogger("library")):
    try:
        fail("a secret" + " wish")
    except ExceptionGroup:
        log.exception("failed")
"""
    text = said(code, OPENV_LOG_FORMAT=kind)
    assert "a secret wish" not in text
    for word in ("Traceback (most recent call last)", "KeyError", "in fail", "ExceptionGroup", "ValueError"):
        assert text.count(word) >= 2, word
    assert text.count("TypeError: no such argument") == 2, "what names code alone is told"


@pytest.mark.parametrize(("name", "value"), [("OPENV_LOG_LEVEL", "loud"), ("OPENV_LOG_FORMAT", "xml")])
def test_a_value_that_means_nothing_is_one_sentence(name: str, value: str) -> None:
    with pytest.raises(logs.LogSettingsError, match=f"^{name} is '{value}': use one of"):
        logs.set_up("gateway", {name: value})
