"""Log lines of every part: one chain for ours and the libraries', levels and formats by environment, no debug of clients."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from repo import logs


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard error, and everything as it was afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in logging.Logger.manager.loggerDict}
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in logging.Logger.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_ours_and_the_libraries_lines_are_one_json_object_each(stderr: io.StringIO) -> None:
    logs.set_up("gateway", {"OPENV_LOG_FORMAT": "json"})
    structlog.get_logger("mine").info("said", job_id="j1")
    logging.getLogger("library").warning("count %d", 3)
    logging.getLogger("library").debug("unheard")

    first, second = lines(stderr)
    assert (first["event"], first["job_id"], first["part"], first["level"]) == ("said", "j1", "gateway", "info")
    assert (second["event"], second["part"], second["level"]) == ("count 3", "gateway", "warning")


def test_client_libraries_do_not_tell_values_even_at_debug(stderr: io.StringIO) -> None:
    logs.set_up("gateway", {"OPENV_LOG_FORMAT": "json", "OPENV_LOG_LEVEL": "debug"})
    structlog.get_logger("mine").debug("heard")
    for name in ("aiokafka.producer", "faust.app", "pymongo.command", "botocore.auth"):
        logging.getLogger(name).debug("a prompt")
        logging.getLogger(name).info("a prompt")
    assert [line["event"] for line in lines(stderr)] == ["heard"]


def test_a_traceback_shows_no_variables(stderr: io.StringIO) -> None:
    logs.set_up("gateway", {"OPENV_LOG_FORMAT": "pretty"})
    try:
        prompt = "a secret wish"
        raise RuntimeError(len(prompt))
    except RuntimeError:
        structlog.get_logger("mine").exception("failed")
    assert "RuntimeError: 13" in stderr.getvalue()
    assert "a secret wish" not in stderr.getvalue().replace('prompt = "a secret wish"', "")


@pytest.mark.parametrize(("name", "value"), [("OPENV_LOG_LEVEL", "loud"), ("OPENV_LOG_FORMAT", "xml")])
def test_a_value_that_means_nothing_is_one_sentence(name: str, value: str) -> None:
    with pytest.raises(logs.LogSettingsError, match=f"^{name} is '{value}': use one of"):
        logs.set_up("gateway", {name: value})
