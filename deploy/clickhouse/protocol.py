"""What a request asks for: who, which statement, with which parameters and settings, and where its data begins."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy.clickhouse.errors import AUTHENTICATION_FAILED, BAD_ARGUMENTS, QueryError

# URL parameters that are the protocol's and no settings.
_RESERVED = frozenset(
    {
        "query", "user", "password", "database", "default_format", "query_id", "session_id", "session_timeout",
        "session_check", "close_session", "quota_key", "compress", "decompress", "buffer_size", "wait_end_of_query",
        "client_protocol_version", "stacktrace", "role",
    }
)  # fmt: skip
_EXTERNAL = ("_format", "_structure", "_types")
_SETTING_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*$")
_QUERY_ID = re.compile(r"^[\x21-\x7e]{1,200}$")


@dataclass(frozen=True)
class Credentials:
    """User name and password as sent; ``given`` is False when the request names nobody."""

    user: str
    password: str
    given: bool


@dataclass(frozen=True)
class Call:
    """A request's URL and headers, parsed; the body is read later."""

    query: str
    user: str
    database: str
    query_id: str
    default_format: str | None
    settings: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    external: dict[str, dict[str, str]] = field(default_factory=dict)
    session_id: str = ""
    session_timeout: float = 60.0
    session_check: bool = False
    blocks_out: bool = False
    blocks_in: bool = False
    whole: bool = False
    revision: int = 0
    read_method: bool = False
    database_given: bool = False

    @property
    def tag(self) -> str:
        """What marks the request's statement within the engine; one user's cannot be another's."""
        return f"{self.user}/{self.query_id}"


def credentials(headers: Mapping[str, str], url: Mapping[str, str]) -> Credentials:
    """Who asks, from ClickHouse's headers, Basic authorization or the URL.

    Raises:
        QueryError: AUTHENTICATION_FAILED for two ways at once or an authorization that cannot be read.
    """
    header_user = headers.get("x-clickhouse-user")
    authorization = headers.get("authorization", "")
    in_url = "user" in url or "password" in url
    if authorization and header_user is not None:
        raise QueryError.of(
            AUTHENTICATION_FAILED,
            "Invalid authentication: X-ClickHouse-User and Authorization are both given. Send one of them.",
        )
    if header_user is not None:
        return Credentials(header_user, headers.get("x-clickhouse-key", ""), True)
    if authorization:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            raise QueryError.of(
                AUTHENTICATION_FAILED, f"Invalid authentication: scheme {scheme!r} is not supported. Use Basic."
            )
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise QueryError.of(
                AUTHENTICATION_FAILED, "Invalid authentication: the Basic value is not Base64 of user:password."
            ) from error
        return Credentials(user, password, True)
    return Credentials(url.get("user", "default"), url.get("password", ""), in_url)


def _flag(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes", "on")


def parse(method: str, headers: Mapping[str, str], url: Mapping[str, str], home: str, user: str) -> Call:
    """A request of ``user``, from its URL and headers; ``home`` is the database of requests that name none.

    Raises:
        QueryError: BAD_ARGUMENTS for a malformed name or number.
    """
    external: dict[str, dict[str, str]] = {}
    settings: dict[str, str] = {}
    params: dict[str, str] = {}
    for name, value in url.items():
        ending = next((end for end in _EXTERNAL if name.endswith(end)), None)
        if name.startswith("param_"):
            params[name.removeprefix("param_")] = value
        elif name in _RESERVED:
            continue
        elif ending is not None and not name.startswith(("output_", "input_", "date_time_", "default_", "format_")):
            external.setdefault(name.removesuffix(ending), {})[ending[1:]] = value
        elif _SETTING_NAME.match(name):
            settings[name] = value
        else:
            raise QueryError.of(BAD_ARGUMENTS, f"URL parameter {name!r} is not the name of a setting.")
    try:
        timeout = min(float(url.get("session_timeout", "60")), 3600.0)
        revision = int(url.get("client_protocol_version", "0"))
    except ValueError as error:
        raise QueryError.of(
            BAD_ARGUMENTS, f"session_timeout and client_protocol_version must be numbers: {error}."
        ) from error
    query_id = url.get("query_id") or headers.get("x-clickhouse-query-id") or str(uuid.uuid4())
    if not _QUERY_ID.match(query_id):
        raise QueryError.of(BAD_ARGUMENTS, "query_id must be 1 to 200 visible ASCII characters.")
    return Call(
        query=url.get("query", ""),
        user=user,
        database=url.get("database") or headers.get("x-clickhouse-database") or home,
        query_id=query_id,
        default_format=url.get("default_format") or headers.get("x-clickhouse-format"),
        settings=settings,
        params=params,
        external=external,
        session_id=url.get("session_id", ""),
        session_timeout=timeout,
        session_check=_flag(url.get("session_check")),
        blocks_out=_flag(url.get("compress")),
        blocks_in=_flag(url.get("decompress")),
        whole=_flag(url.get("wait_end_of_query")),
        revision=revision,
        read_method=method in ("GET", "HEAD"),
        database_given=bool(url.get("database") or headers.get("x-clickhouse-database")),
    )


def with_form(call: Call, fields: Mapping[str, str]) -> Call:
    """The call of a multipart form: its fields stand for URL parameters of the same name."""
    merged = dict(call.params)
    merged.update((name.removeprefix("param_"), value) for name, value in fields.items() if name.startswith("param_"))
    query = "\n".join(part for part in (call.query, fields.get("query", "")) if part)
    values = {**call.__dict__, "params": merged, "query": query}
    return Call(**values)
