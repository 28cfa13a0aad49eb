"""``python -m deploy.registry_gate``: the schema registry as partners get to see it, by TLS, with a login, to read.

A registry has no login of its own, and whoever can write to it can stop every partner. Partners ask it for the id of a
contract and for contracts by id; what else its Confluent API can do is refused here.
Source: Confluent Schema Registry API reference.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import logging
import re
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.certificates import on_lines
from schemas.settings import Settings, SettingsError, variable

USER: Final = "partner"
MAX_BODY_BYTES: Final = 1 << 20
TIMEOUT_S: Final = 10.0
_SEGMENT: Final = r"/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+"
ALLOWED: Final = {
    "GET": re.compile(rf"/(subjects|schemas|config)(?:{_SEGMENT})*"),
    "POST": re.compile(rf"/subjects{_SEGMENT}"),  # looks a contract up; registering has /versions behind it
}
log = logging.getLogger(__name__)


def gate(settings: Settings) -> Starlette:
    """The gate before ``settings.registry_url``, with the same paths; ``/health`` asks for no login.

    Raises:
        SettingsError: there is no password for partners.
    """
    if not settings.registry_partner_password:
        raise SettingsError(f"{variable('registry_partner_password')} is empty: nobody could be told from anybody else")
    login = base64.b64encode(f"{USER}:{settings.registry_partner_password}".encode()).decode()
    root = urlsplit(settings.registry_url).path.rstrip("/")
    ca, user = settings.registry_ca_location, settings.registry_user
    registry = httpx.AsyncClient(
        base_url=settings.registry_url,
        timeout=TIMEOUT_S,
        auth=(user, settings.registry_password) if user else None,
        verify=True if ca is None else ssl.create_default_context(cafile=str(ca)),
    )

    async def forward(request: Request) -> Response:
        given = request.headers.get("authorization", "").removeprefix("Basic ")
        if not hmac.compare_digest(given.encode(), login.encode()):
            refused = _refusal(401, f"log in as '{USER}' with the password that the platform's operator gave you")
            refused.headers["WWW-Authenticate"] = 'Basic realm="schema registry"'
            return refused
        path = str(request.scope["path"]).removeprefix(root)
        allowed = ALLOWED.get(request.method)
        if not request.scope["path"].startswith(root) or allowed is None or not allowed.fullmatch(path):
            return _refusal(403, f"{request.method} {request.url.path} is not for partners: they read contracts")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                return _refusal(413, f"more than {MAX_BODY_BYTES} bytes")
        kinds = {name: request.headers[name] for name in ("accept", "content-type") if name in request.headers}
        return await _ask(request.method, path, params=request.url.query, content=bytes(body), headers=kinds)

    async def _ask(
        method: str, path: str, *, params: str = "", content: bytes = b"", headers: dict[str, str] | None = None
    ) -> Response:
        try:
            answer = await registry.request(method, path, params=params, content=content, headers=headers)
        except httpx.HTTPError as error:
            log.warning("the registry does not answer: %r", error)
            return _refusal(503, "the registry does not answer")
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))

    async def health(_: Request) -> Response:
        return await _ask("GET", "/subjects")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with registry:
            yield

    routes = [Route("/health", health), Route("/{path:path}", forward, methods=["GET", "POST", "PUT", "DELETE"])]
    return Starlette(routes=routes, lifespan=lifespan)


def _refusal(status: int, message: str) -> Response:
    """As the registry's clients understand it."""
    return JSONResponse({"error_code": status, "message": message}, status)


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; 2 when the settings cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m deploy.registry_gate", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every network")
    parser.add_argument("--port", type=int, default=8443)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings.load()
        config = _served(gate(settings), settings, given.host, given.port)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    uvicorn.Server(config).run()
    return 0


def _served(app: Starlette, settings: Settings, host: str, port: int) -> uvicorn.Config:
    if not (settings.gate_tls_key and settings.gate_tls_chain):
        names = f"{variable('gate_tls_key')} and {variable('gate_tls_chain')}"
        raise SettingsError(f"{names} have to hold a key and its certificates in PEM: passwords come this way")
    with tempfile.TemporaryDirectory() as folder:
        key, chain = Path(folder, "key.pem"), Path(folder, "chain.pem")
        key.write_text(on_lines(settings.gate_tls_key))
        chain.write_text(on_lines(settings.gate_tls_chain))
        config = uvicorn.Config(
            app, host=host, port=port, log_level="warning", server_header=False, limit_concurrency=100,
            ssl_keyfile=str(key), ssl_certfile=str(chain),
        )  # fmt: skip
        try:
            config.load()
        except OSError as error:
            raise SettingsError(f"{variable('gate_tls_key')} and {variable('gate_tls_chain')}: {error}") from error
    return config


if __name__ == "__main__":
    sys.exit(main())
