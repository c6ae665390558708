"""Logging for every part: structlog and the libraries' own ``logging``, through one chain of processors.

``OPENV_LOG_FORMAT``: ``json`` (one object a line) or ``pretty`` (for a terminal); without it, ``pretty`` where standard
error is a terminal. ``OPENV_LOG_LEVEL``: ``debug``, ``info`` (default), ``warning`` or ``error``.
"""

import logging
import os
import sys
from collections.abc import Mapping

import structlog
from structlog.types import Processor

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
    handler = logging.StreamHandler(sys.stderr)
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
