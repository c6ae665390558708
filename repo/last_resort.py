"""The last doors of a process: what nobody caught is logged like everything else, by its type and place alone.

Python itself would print it to standard error, where the log is, and an exception's words may quote a prompt. asyncio
and other libraries put exceptions, and tasks that failed, into the words of their own lines; those are taken out too.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

import structlog

from repo.tracebacks import named

T = TypeVar("T")
ASYNCIO = "asyncio"
log = structlog.get_logger()


def install() -> None:
    """For this process: of the main thread, of all others, and of what is raised where nobody can catch it."""
    sys.excepthook = _died
    threading.excepthook = _thread_died
    sys.unraisablehook = _ignored


async def attended(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run(attended(main()))``: what no task of this loop caught is told with the task's name."""
    asyncio.get_running_loop().set_exception_handler(_task_failed)
    return await work


class WithoutWords(logging.Filter):
    """Of a handler. Lines of libraries name what was raised, and do not repeat it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Every line is kept."""
        if record.name == ASYNCIO and record.levelno >= logging.ERROR:
            # Of loops that are not attended. The lines below the first show tasks, and with them what they raised.
            record.msg, record.args = _plain(record.getMessage()), ()
        elif isinstance(record.args, tuple) and record.args:
            record.args = tuple(_unworded(one) for one in record.args)
        elif isinstance(record.args, dict):
            record.args = {name: _unworded(one) for name, one in record.args.items()}
        return True


def _died(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, place)  # has no words
        return
    log.critical("process_failed", error=kind.__name__, **_traced(error))


def _thread_died(given: threading.ExceptHookArgs) -> None:
    if given.exc_type is SystemExit:
        return
    name = given.thread.name if given.thread is not None else None
    log.error("thread_failed", error=given.exc_type.__name__, thread=name, **_traced(given.exc_value))


def _ignored(given: "sys.UnraisableHookArgs") -> None:
    kind, where = given.exc_type.__name__, _called(given.object)
    log.error("exception_ignored", error=kind, where=where, **_traced(given.exc_value))


def _task_failed(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error, about = context.get("exception"), context.get("task") or context.get("future")
    told = {"task": about.get_name(), "where": _called(about)} if isinstance(about, asyncio.Task) else {}
    if isinstance(error, BaseException):
        told["error"] = type(error).__name__
    log.error("task_failed", said=_plain(str(context.get("message", ""))), **told, **_traced(error))


def _traced(error: object) -> dict[str, Any]:
    return {"exc_info": (type(error), error, error.__traceback__)} if isinstance(error, BaseException) else {}


def _plain(message: str) -> str:
    """asyncio's own words: its first line, without the arguments of a callback."""
    first = message.partition("\n")[0]
    return first.partition("(")[0].partition("<")[0] if first.startswith("Exception in callback") else first


def _unworded(value: object) -> object:
    if isinstance(value, BaseException):
        return named(value)
    return _called(value) if isinstance(value, asyncio.Future) else value


def _called(value: object) -> str:
    """What a thing is called, never what it holds."""
    if isinstance(value, asyncio.Task):
        value = value.get_coro()
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else type(value).__qualname__
