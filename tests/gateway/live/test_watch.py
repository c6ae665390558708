"""A connection whose end comes before what it began has taken its first step."""

import asyncio
import gc
import warnings
from collections.abc import Callable, Sequence

import pytest
from starlette.requests import HTTPConnection
from structlog.testing import capture_logs

from gateway.core.frame import Frame
from gateway.live.sockets import Sockets
from gateway.live.watch import Watch
from tests.gateway.world import World, until


class Nowhere:
    """A wire that leads nowhere."""

    paused = False

    def write(self, frames: Sequence[Frame]) -> None: ...

    def hold(self, held: bool) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    def cut(self) -> None: ...


@pytest.mark.parametrize(
    "begun",
    [
        lambda watch: watch.hear('{"type":"auth","token":"ov_x"}'),
        lambda watch: watch.hear('{"type":"auth","token":"ovt_x"}'),
        lambda watch: watch.hear('{"type":"auth"}'),
        lambda watch: watch.come_in_by_ticket("ovt_x"),
    ],
    ids=["key", "ticket", "cookie", "ticket in the address"],
)
async def test_a_question_that_nobody_came_to_ask_is_no_noise(world: World, begun: Callable[[Watch], None]) -> None:
    sockets: Sockets = world.app.state.sockets
    handshake = HTTPConnection({"type": "websocket", "headers": [], "scheme": "ws", "method": "GET"})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        watch = Watch(sockets, Nowhere(), "198.51.100.7", handshake)
        sockets.join(watch)
        begun(watch)
        assert watch._doing is not None
        doing = watch._doing
        watch.lost()
        await asyncio.gather(doing, return_exceptions=True)
        assert doing.cancelled()
        del doing, watch
        gc.collect()
    assert [str(one.message) for one in said] == []
    assert not sockets.open


async def test_what_fails_beside_the_connections_is_said(world: World) -> None:
    sockets = Sockets(world.parts)

    async def fails() -> None:
        raise ZeroDivisionError

    with capture_logs() as said:
        sockets.beside(fails())
        await until(lambda: said)
    assert [(line["event"], line["error"]) for line in said] == [("beside_failed", "ZeroDivisionError")]
