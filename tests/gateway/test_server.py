"""The gateway's listening socket."""

import asyncio
import socket

from gateway.server import listen


async def test_what_is_written_to_a_client_is_sent_at_once() -> None:
    """Nagle's algorithm would hold the second write of an answer until the client acknowledges the first."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def on_client(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = listen("127.0.0.1", 0)
    async with await asyncio.start_server(on_client, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        async with asyncio.timeout(30):
            assert await accepted
        writer.close()
        await writer.wait_closed()
