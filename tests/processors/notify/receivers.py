"""Real receivers on loopback: a webhook endpoint and a mail server that can be told to misbehave."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass(frozen=True)
class Request:
    headers: dict[str, str]
    body: bytes


@dataclass
class Hook:
    """``answers`` are used up one a request: a status, a status with its Retry-After, or ``hang``; then 200."""

    url: str = ""
    answers: list[int | tuple[int, str] | str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    taken: list[Request] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)


@contextmanager
def webhook(*answers: int | tuple[int, str] | str) -> Iterator[Hook]:
    hook = Hook(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Request(dict(self.headers.items()), body)
            hook.requests.append(request)
            answer = hook.answers.pop(0) if hook.answers else 200
            if answer == "hang":
                hook.let_go.wait(30)
                return
            status, after = answer if isinstance(answer, tuple) else (int(answer), "")
            if 200 <= status < 300:
                hook.taken.append(request)
            self.send_response(status)
            if after:
                self.send_header("Retry-After", after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mailbox:
    """``answers`` are used up one a message, such as ``451 later``; then mail is taken."""

    port: int = 0
    answers: list[str] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)
    farewell: bool = True

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.answers:
            return self.answers.pop(0)
        read = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(read, EmailMessage)
        self.mails.append(read)
        return "250 taken"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if not self.farewell:
            await asyncio.sleep(30)
        return "221 bye"

    def channel(self, extra: str = "") -> str:
        return (
            f"{{smtp: {{host: 127.0.0.1, port: {self.port}, from: tocsin@desk.example, to: mira@desk.example, "
            f"starttls: false}}{extra}}}"
        )


@contextmanager
def mailbox(*answers: str, **options: Any) -> Iterator[Mailbox]:
    """``options`` are the server's: ``tls_context``, ``authenticator`` and so on."""
    box = Mailbox(answers=list(answers))
    # The controller greets itself on the port it was given, so it has to be a real one.
    box.port = _free_port()
    controller = Controller(box, hostname="127.0.0.1", port=box.port, **options)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
