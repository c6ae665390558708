"""Waiting for a server that is away: the same thing again until it answers, and everyone is told meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from repo.ports import Unavailable
from streams.board import Board
from streams.settings import Role

T = TypeVar("T")
log = structlog.get_logger()

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0  # how late a decision may come after the server is back
SAY_AGAIN_S = 30.0


class Patience:
    """One role's. What is tried must be safe to repeat: its first try may have had its effect, only not its answer."""

    def __init__(self, role: Role, board: Board) -> None:
        self._role = role
        self._board = board
        self._said_at = float("-inf")

    async def until_done(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of ``attempt``, called again after every ``Unavailable``, for ever. Other exceptions pass."""
        pause = FIRST_PAUSE_S
        since: float | None = None
        who = object()
        try:
            while True:
                try:
                    return await attempt()
                except Unavailable as absent:
                    since = self._board.now() if since is None else since
                    self._board.waits(self._role, who, absent.server)
                    self._say(absent)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
        finally:
            if since is not None:
                self._board.goes_on(self._role, who)
                log.info("waits no more", role=self._role, waited_s=round(self._board.now() - since, 1))

    def _say(self, absent: Unavailable) -> None:
        """In the log, once in a while, however many wait."""
        if self._board.now() - self._said_at >= SAY_AGAIN_S:
            self._said_at = self._board.now()
            log.warning("waiting", role=self._role, server=absent.server, reason=absent.reason)
