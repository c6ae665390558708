"""Logging for every part: structlog and the libraries' own ``logging``, through one chain of processors.

Nothing of an exception but its type and place is written, whoever raised or logged it (``repo/last_resort.py``).

``OPENV_LOG_FORMAT``: ``json`` (one object a line) or ``pretty`` (for a terminal); without it, ``pretty`` where standard
error is a terminal. ``OPENV_LOG_LEVEL``: ``debug``, ``info`` (default), ``warning`` or ``error``.
"""

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress

import structlog
from structlog.types import Processor

from repo import last_resort
from repo.tracebacks import print_told, told

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FORMATS = ("json", "pretty")
# Client libraries tell at length what our own lines say in one; their warnings are kept.
# (Those of HTTP and mail would tell addresses with their queries, and headers.)
_TALKATIVE = (
    "aiokafka", "faust", "mode", "pymongo", "botocore", "aiobotocore", "boto3", "urllib3", "asyncio", "httpx",
    "httpcore", "aiohttp", "aiosmtplib", "websockets",
)  # fmt: skip


class LogSettingsError(ValueError):
    """A logging variable has a value that means nothing; the message is one sentence that names it."""


def set_up(part: str, environment: Mapping[str, str] = os.environ) -> None:
    """Send every log line of this process to standard error. Raises ``LogSettingsError``."""
    level = _chosen(environment, "OPENV_LOG_LEVEL", tuple(LEVELS), "info")
    kind = _chosen(environment, "OPENV_LOG_FORMAT", FORMATS, "pretty" if sys.stderr.isatty() else "json")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Part(part),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor] = (
        [structlog.processors.ExceptionRenderer(told), structlog.processors.JSONRenderer()]
        if kind == "json"
        # Tracebacks of ours: rich ones print local variables, plain ones what was raised; both may quote prompts.
        else [structlog.dev.ConsoleRenderer(exception_formatter=print_told)]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _Handler(sys.stderr)
    handler.addFilter(last_resort.WithoutWords())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))
    last_resort.install()


def at_a_terminal() -> None:
    """For a command of a person's: its lines go to standard error, for standard output is for answers."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            structlog.dev.set_exc_info,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(exception_formatter=print_told),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    last_resort.install()


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """A line that can't be written is not shown with its arguments, as the library would."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- the library's name
        """Say which kind of line is missing."""
        kind = sys.exc_info()[0]
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"a log line of {record.name} is lost: {kind.__name__ if kind else 'unknown'}\n")


class _Part:
    """Adds which part of the system speaks."""

    def __init__(self, part: str) -> None:
        self._part = part

    def __call__(self, _logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event.setdefault("part", self._part)
        return event


def _chosen(environment: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = (environment.get(name) or default).strip().lower()
    if value not in allowed:
        raise LogSettingsError(f"{name} is {value!r}: use one of {', '.join(allowed)}.")
    return value
