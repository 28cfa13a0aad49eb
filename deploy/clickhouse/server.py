"""The HTTP application: routes, authentication, bodies in and out.

The event loop only waits; each engine call runs in a worker thread. An INSERT's body is decoded and put on disk as it
arrives, and the engine reads it from there; a result leaves as the engine makes it. When a client goes away, its
reading statement ends.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from deploy.clickhouse import output, protocol
from deploy.clickhouse.compression import BlockDecoder, Coder, decoder
from deploy.clickhouse.engine import Stats
from deploy.clickhouse.errors import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    QUERY_IS_TOO_LARGE,
    QUERY_WAS_CANCELLED,
    QueryError,
)
from deploy.clickhouse.execute import Executor, Result, User, exception_block
from deploy.clickhouse.logs import AccessLog
from deploy.clickhouse.protocol import Call
from deploy.clickhouse.statement import Insert, find_insert, is_insert, undecided

log = logging.getLogger("tocsin.clickhouse")

# A statement without data, and the head of an INSERT, may be this long.
MAX_STATEMENT = 16 << 20
# Data of an INSERT is kept in pieces of at least this size, which keeps the hand-over between threads cheap.
FEED_BYTES = 1 << 20
HEAD_BYTES = 64 << 10
WORKERS = 48

T = TypeVar("T")


class Service:
    """The server's state: an executor, its users, and the worker threads."""

    def __init__(self, executor: Executor, users: Mapping[str, User]) -> None:
        self.executor = executor
        self.users = users
        self.pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="statement")

    def application(self) -> AccessLog:
        """The ASGI application."""
        routes = [
            Route("/", self.root, methods=["GET", "HEAD", "POST", "OPTIONS"]),
            Route("/ping", self.ok, methods=["GET", "HEAD"]),
            Route("/replicas_status", self.ok, methods=["GET", "HEAD"]),
        ]
        return AccessLog(Starlette(routes=routes, exception_handlers={404: _no_handler}))

    async def ok(self, _: Request) -> Response:
        """Alive, whatever the engine is busy with."""
        return PlainTextResponse("Ok.\n")

    async def root(self, request: Request) -> Response:
        """One statement."""
        url = dict(request.query_params)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": "GET, HEAD, POST"})
        if request.method in ("GET", "HEAD") and not url.get("query"):
            return PlainTextResponse("Ok.\n")
        query_id = ""
        try:
            user = self._authenticate(protocol.credentials(request.headers, url))
            request.scope["tocsin"]["user"] = user.name
            home = self.executor.engine.database
            call = protocol.parse(request.method, request.headers, url, home, user.name)
            query_id = request.scope["tocsin"]["query_id"] = call.query_id
            return await self._statement(request, call, user)
        except ClientDisconnect:
            return Response(status_code=499)
        except QueryError as error:
            await _drain(request)
            return self._failure(request, error, query_id)
        except Exception as error:
            log.exception("request %s failed", query_id)
            await _drain(request)
            return self._failure(request, QueryError.from_engine(f"{type(error).__name__}: {error}"), query_id)

    def _authenticate(self, who: protocol.Credentials) -> User:
        user = self.users.get(who.user)
        # Compared also for an unknown user, so that the time taken does not tell which names exist.
        right = hmac.compare_digest((user.password if user else "").encode(), who.password.encode())
        if user is None or not right:
            raise QueryError.of(
                AUTHENTICATION_FAILED,
                f"{who.user}: Authentication failed: password is incorrect, or there is no user with such name.",
                403 if who.given else 401,
            )
        return user

    async def _statement(self, request: Request, call: Call, user: User) -> Response:
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            return await self._form(request, call, user)
        body = self._body(request, call)
        text = call.query.encode() + b"\n" if call.query else b""
        if call.query and is_insert(text):
            insert = find_insert(text) or _in_format_of(call)
            if insert is not None and _brings_data(insert, call, text):
                # The line break between URL and body is no data.
                begun = b"" if insert.data >= len(text) - 1 else text[insert.data :]
                return await self._insert(call, user, insert, begun, body)
        async for chunk in body:
            text += chunk
            if len(text) >= HEAD_BYTES and not undecided(text) and is_insert(text):
                insert = find_insert(text)
                if insert is not None:
                    return await self._insert(call, user, insert, text[insert.data :], body)
            if len(text) > MAX_STATEMENT:
                raise QueryError.of(
                    QUERY_IS_TOO_LARGE, f"The statement is longer than {MAX_STATEMENT} bytes. Send data as an INSERT."
                )
        if is_insert(text):
            insert = find_insert(text + b"\n")
            if insert is not None and (_brings_data(insert, call, text) or _feeds_a_select(insert, text)):
                return await self._insert(call, user, insert, text[insert.data :], body)
        return await self._run(request, call, user, _sql(text), {})

    async def _form(self, request: Request, call: Call, user: User) -> Response:
        form: FormData = await request.form(max_part_size=MAX_STATEMENT, max_files=100)
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        tables = {name: await value.read() for name, value in form.multi_items() if isinstance(value, UploadFile)}
        # A form field that is described like a table is one; curl -F sends small ones without a file name.
        tables.update((name, fields[name].encode()) for name in call.external if name in fields and name not in tables)
        call = protocol.with_form(call, fields)
        return await self._run(request, call, user, call.query, tables)

    async def _body(self, request: Request, call: Call) -> AsyncIterator[bytes]:
        coders: list[Coder] = []
        outer = decoder(request.headers.get("content-encoding", ""))
        if outer is not None:
            coders.append(outer)
        if call.blocks_in:
            coders.append(BlockDecoder())
        async for chunk in request.stream():
            for coder in coders:
                chunk = coder.feed(chunk)
            if chunk:
                yield chunk
        tail = b""
        for coder in coders:
            tail = (coder.feed(tail) if tail else b"") + coder.finish()
        if tail:
            yield tail

    async def thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, call)

    async def _insert(
        self, call: Call, user: User, insert: Insert, begun: bytes, body: AsyncIterator[bytes]
    ) -> Response:
        """Keep the body and run the INSERT with it. The answer says Ok only when every row is stored."""
        executor = self.executor
        link, close = await self.thread(partial(executor.start_insert, call, user, insert))
        try:
            waiting, size = [begun], len(begun)
            async for chunk in body:
                waiting.append(chunk)
                size += len(chunk)
                if size >= FEED_BYTES:
                    await self.thread(partial(link.append, b"".join(waiting)))
                    waiting, size = [], 0
            await self.thread(partial(executor.finish_insert, link, b"".join(waiting)))
        finally:
            # Closing an INSERT that is not finished drops its data.
            await asyncio.shield(self.thread(close))
        return Response(b"", headers=self._headers(call, link.stats, None), media_type=output.content_type("TSV"))

    async def _run(self, request: Request, call: Call, user: User, sql: str, tables: Mapping[str, bytes]) -> Response:
        accept = request.headers.get("accept-encoding", "")
        work = partial(self.executor.run, call, user, sql, accept, tables)
        result = await self._watched(request, call, work)
        try:
            if call.whole:
                body, more = await self._watched(request, call, partial(_collect, result)), None
            else:
                body, more = await self._watched(request, call, partial(_two, result))
        except BaseException:
            self.pool.submit(result.close)
            raise
        headers = self._headers(call, result.stats, result)
        if more is not None:
            return _Streamed(self, call, result, [body, more], headers)
        await self.thread(result.close)
        return Response(body, headers=headers)

    async def _watched(self, request: Request, call: Call, work: Callable[[], T]) -> T:
        """Do work in a thread; when the client goes away meanwhile, cancel its statement."""
        task = asyncio.ensure_future(self.thread(work))
        gone = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await self.thread(partial(self.executor.engine.cancel, call.tag))
                done = await asyncio.gather(task, return_exceptions=True)
                if isinstance(done[0], Result):
                    await self.thread(done[0].close)
                raise ClientDisconnect
            return task.result()
        finally:
            gone.cancel()

    def _headers(self, call: Call, stats: Stats, result: Result | None) -> dict[str, str]:
        headers = {
            "X-ClickHouse-Summary": json.dumps(_summary(stats)),
            "X-ClickHouse-Query-Id": call.query_id,
            "X-ClickHouse-Server-Display-Name": "tocsin",
            "X-ClickHouse-Timezone": "UTC",
        }
        if result is not None and result.format_name is not None:
            headers["X-ClickHouse-Format"] = result.format_name
            headers["X-ClickHouse-Exception-Tag"] = result.exception_tag
            headers["Content-Type"] = output.content_type(result.format_name)
        if result is not None and result.coding is not None:
            headers["Content-Encoding"] = result.coding
            headers["Vary"] = "Accept-Encoding"
        return headers

    def _failure(self, request: Request, error: QueryError, query_id: str) -> Response:
        request.scope["tocsin"]["error"] = f"{error.code} {error.name}"
        headers = {
            "X-ClickHouse-Exception-Code": str(error.code),
            "X-ClickHouse-Server-Display-Name": "tocsin",
            "X-ClickHouse-Timezone": "UTC",
        }
        if query_id:
            headers["X-ClickHouse-Query-Id"] = query_id
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        body = error.body(self.executor.engine.version)
        return Response(body, error.status, headers, media_type="text/plain; charset=UTF-8")

    def close(self) -> None:
        """End what still runs and wait for it."""
        self.executor.engine.cancel_all()
        self.pool.shutdown(wait=True, cancel_futures=True)


class _Streamed(StreamingResponse):
    """A result that leaves piece by piece; its handle ends with it, also when the client is gone before the start."""

    def __init__(
        self, service: Service, call: Call, result: Result, ready: list[bytes], headers: dict[str, str]
    ) -> None:
        super().__init__(self._pieces(ready), headers=headers)
        self._service = service
        self._call = call
        self._result = result
        self._complete = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            pool, engine = self._service.pool, self._service.executor.engine
            if not self._complete:
                # A fetch may still run in its thread; it has to end before the handle can.
                pool.submit(engine.cancel, self._call.tag)
            pool.submit(self._result.close)

    async def _pieces(self, ready: list[bytes]) -> AsyncIterator[bytes]:
        for piece in ready:
            yield piece
        fetch = partial(_next, self._result, self._service.executor.engine.version)
        while (following := await asyncio.shield(self._service.thread(fetch))) is not None:
            yield following
        self._complete = True


def _sql(text: bytes) -> str:
    try:
        return text.decode().strip()
    except UnicodeDecodeError as error:
        raise QueryError.of(
            BAD_ARGUMENTS,
            f"The statement is not UTF-8 (byte {error.start}). Send it as UTF-8, or is it compressed? "
            "Then name the Content-Encoding.",
        ) from error


def _in_format_of(call: Call) -> Insert | None:
    """The INSERT of a URL that ends with its table and columns; its data comes in the request's format."""
    if call.default_format is None:
        return None
    opened = find_insert(f"{call.query} FORMAT {call.default_format}\n".encode())
    return opened if opened is not None and opened.head == call.query.rstrip() else None


def _brings_data(insert: Insert, call: Call, text: bytes) -> bool:
    """Whether an INSERT is fed with data; VALUES with query parameters are run as a statement instead."""
    values_with_parameters = insert.format_name == "Values" and bool(call.params) and bool(text[insert.data :].strip())
    return not insert.from_select and not values_with_parameters


def _feeds_a_select(insert: Insert, text: bytes) -> bool:
    return insert.from_select and bool(text[insert.data :].strip())


def _collect(result: Result) -> bytes:
    out = []
    while (piece := result.pieces()) is not None:
        out.append(piece)
    return b"".join(out)


def _two(result: Result) -> tuple[bytes, bytes | None]:
    """The first pieces as one, and the next; a small result ends with the first and gets a Content-Length."""
    first, following = b"", result.pieces()
    # A result of one piece is at most three: the piece, the tail of its compression, the end.
    for _ in range(2):
        first += following or b""
        following = result.pieces() if following is not None else None
    return first, following


def _next(result: Result, version: str) -> bytes | None:
    try:
        return result.pieces()
    except QueryError as error:
        if error.code == QUERY_WAS_CANCELLED:
            log.info("statement cancelled while its result was being sent")
        result.pieces = lambda: None
        return exception_block(error, version, result.exception_tag)


def _summary(stats: Stats) -> dict[str, str]:
    return {
        "read_rows": str(stats.read_rows),
        "read_bytes": str(stats.read_bytes),
        "written_rows": str(stats.written_rows),
        "written_bytes": str(stats.written_bytes),
        "total_rows_to_read": str(stats.read_rows),
        "result_rows": str(stats.written_rows or stats.result_rows),
        "result_bytes": str(stats.written_bytes or stats.result_bytes),
    }


async def _gone(request: Request) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


async def _drain(request: Request) -> None:
    """Read what is left of the body: a client that still sends would not see the answer."""
    try:
        async for _ in request.stream():
            pass
    except (ClientDisconnect, RuntimeError):
        return


async def _no_handler(request: Request, _: Any) -> Response:
    return PlainTextResponse(
        f"There is no handle {request.url.path}\n\nUse / for statements and /ping for health checks.\n", 404
    )
