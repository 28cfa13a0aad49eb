"""TLS in front of a server that speaks none, as a proxy puts it there."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.certificates import issue, new_authority


@contextmanager
def tls_before(port: int, folder: Path) -> Iterator[tuple[int, Path]]:
    """The port of 127.0.0.1 on which the server of ``port`` is reached by TLS, and the file of the CA to believe."""
    now = dt.datetime.now(dt.UTC)
    authority = new_authority(now)
    identity = issue(authority, ["127.0.0.1"], now)
    ca, own = folder / "proxy-ca.pem", folder / "proxy.pem"
    ca.write_text(authority.chain)
    own.write_text(identity.key + identity.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        started = asyncio.run_coroutine_threadsafe(_serve(port, context), loop).result(10)
        yield started.sockets[0].getsockname()[1], ca
    finally:
        asyncio.run_coroutine_threadsafe(_end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(port: int, context: ssl.SSLContext) -> asyncio.Server:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, to_there), _pump(there, writer))

    return await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)


async def _end() -> None:
    relays = asyncio.all_tasks() - {asyncio.current_task()}
    for each in relays:
        each.cancel()
    await asyncio.gather(*relays, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
