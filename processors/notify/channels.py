"""The channels: mail, webhook, Apprise, and the worker's log. One attempt each; retrying is for deliver.py."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final
from urllib.parse import unquote

import httpx
import orjson

from processors.notifier import AT_A_TIME
from processors.notify import signing
from processors.notify.message import Message, opaque
from schemas.channels import Channel, SecretMissingError, Smtp, Webhook, resolve

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log each address, with any token in it

_AGAIN: Final = frozenset({408, 425, 429})
_ERROR: Final = 300


class SendError(Exception):
    """The message was not taken, or nobody can tell. ``again`` says whether another attempt makes sense, and
    ``after_s`` how long the receiver wants to be left alone. The text holds no secret."""

    def __init__(self, text: str, *, again: bool, after_s: float | None = None) -> None:
        super().__init__(text[:_ERROR])
        self.again, self.after_s = again, after_s


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with what receivers know it by: ``notification_id`` is the same in every attempt, ``thread`` that of
    the first message about the matter. ``at`` is the time of the attempt, aware."""

    message: Message
    notification_id: str
    thread: str
    at: datetime


class Senders:
    """Sends through any channel; ``timeout_s`` bounds each attempt (of mail, each command of it). Use in one event
    loop, and close."""

    def __init__(self, timeout_s: float = 10.0) -> None:
        self._timeout_s = timeout_s
        self._http: httpx.AsyncClient | None = None
        self._threads = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="mail")

    async def send(self, channel: Channel, envelope: Envelope) -> None:
        """One attempt.

        Raises:
            SendError: it was not taken.
        """
        try:
            if channel.smtp is not None:
                await self._mail(channel.smtp, envelope)
            elif channel.webhook is not None:
                await self._post(channel.webhook, envelope)
            elif channel.apprise is not None:
                await self._apprise(resolve(channel.apprise), envelope.message)
            else:
                log.info("notification: %s\n%s", envelope.message.subject, envelope.message.text)
        except SecretMissingError as error:
            raise SendError(str(error), again=False) from error

    async def aclose(self) -> None:
        """Let go of connections and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _mail(self, target: Smtp, envelope: Envelope) -> None:
        password = resolve(target.password) if target.password else ""
        mail = mail_of(target, envelope)
        # No deadline over the whole: a thread cannot be stopped, and might still hand the message over.
        await asyncio.get_running_loop().run_in_executor(
            self._threads, _hand_over, target, mail, password, self._timeout_s
        )

    async def _post(self, target: Webhook, envelope: Envelope) -> None:
        url, secret = resolve(target.url), resolve(target.secret)
        body = orjson.dumps(envelope.message.fields, option=orjson.OPT_SORT_KEYS)
        timestamp = str(int(envelope.at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Tocsin",
            signing.TIMESTAMP_HEADER: timestamp,
            signing.SIGNATURE_HEADER: signing.sign(secret, timestamp, body),
            signing.IDEMPOTENCY_HEADER: opaque(envelope.notification_id),
        }
        if self._http is None:
            self._http = httpx.AsyncClient(follow_redirects=False)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream("POST", url, content=body, headers=headers, timeout=self._timeout_s) as answer,
            ):
                status, after = answer.status_code, answer.headers.get("Retry-After", "")
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SendError(f"no answer within {self._timeout_s:g} s", again=True) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise SendError("the address is no URL that can be posted to", again=False) from error
        except httpx.HTTPError as error:
            raise SendError(f"{type(error).__name__}: {_without(str(error), url)}", again=True) from error
        if not 200 <= status < 300:
            again = status in _AGAIN or status >= 500
            raise SendError(f"answered {status}", again=again, after_s=retry_after(after, envelope.at))

    async def _apprise(self, url: str, message: Message) -> None:
        from apprise import Apprise, NotifyFormat, NotifyType  # a second of imports, only where it is used

        said: list[str] = []
        service = Apprise()
        if not service.add(url):
            raise SendError("Apprise knows no such address; see https://appriseit.com/services/", again=False)
        taken = await service.async_notify(
            body=message.text,
            title=message.subject,
            body_format=NotifyFormat.TEXT,
            notify_type=NotifyType.FAILURE if message.urgent else NotifyType.WARNING,
            timeout=self._timeout_s,
            log_callback=lambda entry, _service: said.append(str(entry.message)),
            log_level=logging.WARNING,
        )
        if not taken:
            detail = said[-1] if said else "no reason given"
            raise SendError(f"not taken: {_without(detail, url)}", again=True)


def mail_of(target: Smtp, envelope: Envelope) -> EmailMessage:
    """The mail: its Message-ID follows from the notification, so that mailboxes know a repetition, and later ones
    refer to the first of their thread (RFC 5322 3.6.4)."""
    domain = target.sender.rpartition("@")[2]
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = target.sender, target.to
    mail["Subject"] = envelope.message.subject
    mail["Date"] = format_datetime(envelope.at.astimezone(UTC))
    mail["Message-ID"] = f"<{opaque(envelope.notification_id)}@{domain}>"
    if envelope.thread != envelope.notification_id:
        mail["In-Reply-To"] = mail["References"] = f"<{opaque(envelope.thread)}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    if envelope.message.urgent:
        mail["Importance"] = "high"
    mail.set_content(envelope.message.text)
    return mail


def _hand_over(target: Smtp, mail: EmailMessage, password: str, timeout_s: float) -> None:
    try:
        relay = smtplib.SMTP(target.host, target.port, mail_domain(target), timeout_s)
        try:
            if target.starttls:
                relay.starttls(context=ssl.create_default_context())
            if target.user is not None:
                relay.login(target.user, password)
            relay.send_message(mail)
            # The relay has it. Whatever becomes of the farewell, sending again would make two.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                if relay.sock is not None:
                    relay.sock.settimeout(1.0)
                relay.quit()
        finally:
            relay.close()
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        raise SendError(f"{code} {_decoded(text)}", again=400 <= code < 500) from error
    except smtplib.SMTPResponseException as error:
        raise SendError(
            f"{error.smtp_code} {_decoded(error.smtp_error)}", again=400 <= error.smtp_code < 500
        ) from error
    except (smtplib.SMTPNotSupportedError, ssl.SSLCertVerificationError) as error:
        raise SendError(str(error), again=False) from error
    except TimeoutError as error:
        raise SendError(f"no answer within {timeout_s:g} s", again=True) from error
    except (smtplib.SMTPException, OSError) as error:
        raise SendError(f"{type(error).__name__}: {error}", again=True) from error


def mail_domain(target: Smtp) -> str:
    """How we greet the relay; a look-up of this machine's own name can take half a minute on a closed network."""
    return target.sender.rpartition("@")[2]


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds that ``Retry-After`` asks for (RFC 9110 10.2.3); ``None`` when it is absent or cannot be read."""
    if value.strip().isdigit():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((then if then.tzinfo else then.replace(tzinfo=UTC)) - now).total_seconds())


def _decoded(text: bytes | str) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else text


def _without(text: str, url: str) -> str:
    """The text with every part of the address masked: services put tokens anywhere in it."""
    parts = {unquote(part) for part in re.split(r"[/:@?&=#]+", url)} | set(re.split(r"[/:@?&=#]+", url))
    for part in sorted((each for each in parts if len(each) > 3), key=len, reverse=True):
        text = text.replace(part, "****")
    return text
