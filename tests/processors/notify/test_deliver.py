"""Delivery to real receivers: what they got is what the log says, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from processors.notify.channels import Senders
from processors.notify.deliver import Deliverer, Retry
from processors.notify.message import opaque
from processors.notify.signing import verify
from schemas.lifecycle import Delivery, Notification
from tests.processors.notify.receivers import Hook, Mailbox, mailbox, webhook
from tests.processors.notify.samples import DESK, NOW, notification, policy, state

SECRET = "wholly-invented"


class Clock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Desk:
    """A deliverer over a policy of one person with channels to real receivers."""

    def __init__(self, folder: Path, *channels: str, timeout_s: float = 5.0, chance: float = 1.0) -> None:
        self.clock = Clock()
        self.deliverer = Deliverer(
            policy(folder, *channels),
            desk_url=DESK,
            senders=Senders(timeout_s),
            retry=Retry(attempts=3, base_s=1.0, cap_s=20.0, longest_s=60.0),
            clock=self.clock,
            sleep=self.clock.sleep,
            chance=lambda: chance,
        )

    async def tell(self, asked: Notification | None = None, **changes: Any) -> tuple[str, list[Delivery]]:
        return await self.deliverer.deliver(asked or notification(), [state(**changes)], NOW)


def outcomes(rows: list[Delivery]) -> list[tuple[str, str]]:
    return [(row.channel, row.outcome) for row in rows]


def hooked(hook: Hook, extra: str = "") -> str:
    return f"{{webhook: {{url: '{hook.url}', secret: env:TEST_HOOK_SECRET}}{extra}}}"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_HOOK_SECRET", SECRET)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as receivers:
        yield receivers


async def test_mail_arrives_once_and_updates_follow_in_its_thread(tmp_path: Path, opened: ExitStack) -> None:
    box = opened.enter_context(mailbox())
    desk = Desk(tmp_path, box.channel())
    first, rows = await desk.tell()
    second, more = await desk.tell(notification("n2", thread="n1", kind="update"))
    assert (first, second) == ("sent", "sent")
    assert outcomes(rows + more) == [("smtp", "sent"), ("smtp", "sent")]
    assert len(box.mails) == 2
    told, update = box.mails
    assert told["Message-ID"] == f"<{opaque('n1')}@desk.example>"
    assert told["In-Reply-To"] is None
    assert update["In-Reply-To"] == update["References"] == told["Message-ID"]
    assert (told["From"], told["To"]) == ("tocsin@desk.example", "mira@desk.example")
    assert told["Subject"] == "[P1] Alert: One document in two countries, Berlin, Nairobi"
    assert told["Date"] == "Sun, 01 Mar 2026 12:00:00 +0000"
    assert told["Importance"] == "high"
    assert "12:30 in Europe/Berlin" in told.get_content()
    assert "http://127.0.0.1:8500/alerts/a1" in told.get_content()
    assert rows[0].address == "mira@desk.example"


async def test_a_repeated_mail_is_the_same_mail(tmp_path: Path, opened: ExitStack) -> None:
    box = opened.enter_context(mailbox())
    for _ in range(2):
        await Desk(tmp_path, box.channel()).tell()
    assert box.mails[0].as_bytes() == box.mails[1].as_bytes()


async def test_a_webhook_gets_signed_json(tmp_path: Path, opened: ExitStack) -> None:
    hook = opened.enter_context(webhook())
    status, rows = await Desk(tmp_path, hooked(hook)).tell()
    assert (status, outcomes(rows)) == ("sent", [("webhook", "sent")])
    [request] = hook.taken
    assert request.headers["Idempotency-Key"] == opaque("n1") == json.loads(request.body)["notification_id"]
    timestamp, signature = request.headers["Tocsin-Timestamp"], request.headers["Tocsin-Signature"]
    assert timestamp == str(int(NOW.timestamp()))
    assert verify(SECRET, timestamp, request.body, signature)
    assert not verify(SECRET, timestamp, request.body.replace(b"Kenya", b"kenya"), signature)
    assert rows[0].address == hook.url.removesuffix("/hook")
    assert json.loads(request.body)["alerts"][0]["partners"] == ["bpol-de", "hub-ke"]


async def test_above_green_nothing_of_the_alert_reaches_an_outside_receiver(tmp_path: Path, opened: ExitStack) -> None:
    hook, box = opened.enter_context(webhook(400)), opened.enter_context(mailbox())
    _, rows = await Desk(tmp_path, hooked(hook), box.channel(", outside: false")).tell(tlp="AMBER")
    assert [(row.channel, row.outcome, row.redacted) for row in rows] == [
        ("webhook", "failed", True),
        ("smtp", "sent", False),
    ]
    assert b"X1234567" not in hook.requests[0].body
    assert b"bpol" not in hook.requests[0].body
    assert json.loads(hook.requests[0].body)["alerts"] == [{"alert_id": "a1", "url": "http://127.0.0.1:8500/alerts/a1"}]
    assert "X1234567" in box.mails[0].get_content()


async def test_attempts_are_repeated_with_growing_pauses_under_one_key(tmp_path: Path, opened: ExitStack) -> None:
    hook = opened.enter_context(webhook(500, 503))
    desk = Desk(tmp_path, hooked(hook), chance=0.5)
    status, rows = await desk.tell()
    assert status == "sent"
    assert outcomes(rows) == [("webhook", "retry"), ("webhook", "retry"), ("webhook", "sent")]
    assert [row.error for row in rows] == ["answered 500", "answered 503", ""]
    assert desk.clock.slept == [0.5, 1.0]
    assert [(row.attempt, (row.at - NOW).total_seconds()) for row in rows] == [(1, 0.0), (2, 0.5), (3, 1.5)]
    assert len({request.headers["Idempotency-Key"] for request in hook.requests}) == 1
    assert len({request.body for request in hook.requests}) == 1
    assert len(hook.taken) == 1
    assert len({row.delivery_id for row in rows}) == 3


async def test_retry_after_is_honoured_and_too_long_a_one_gives_the_channel_up(
    tmp_path: Path, opened: ExitStack
) -> None:
    hook = opened.enter_context(webhook((429, "7"), (503, "Sun, 01 Mar 2026 12:00:30 GMT")))
    desk = Desk(tmp_path, hooked(hook))
    status, _ = await desk.tell()
    assert status == "sent"
    assert desk.clock.slept == [7.0, 23.0]
    busy, box = opened.enter_context(webhook((429, "3600"))), opened.enter_context(mailbox())
    desk = Desk(tmp_path, hooked(busy), box.channel())
    _, rows = await desk.tell()
    assert outcomes(rows) == [("webhook", "failed"), ("smtp", "sent")]
    assert desk.clock.slept == []


async def test_the_next_channel_is_taken_when_one_fails_for_good(tmp_path: Path, opened: ExitStack) -> None:
    hook, box = opened.enter_context(webhook(500, 500, 500)), opened.enter_context(mailbox())
    status, rows = await Desk(tmp_path, hooked(hook), box.channel(), "{log: true}").tell()
    assert status == "sent"
    assert outcomes(rows) == [("webhook", "retry"), ("webhook", "retry"), ("webhook", "failed"), ("smtp", "sent")]
    assert (len(hook.requests), len(hook.taken), len(box.mails)) == (3, 0, 1)


async def test_when_all_channels_fail_the_person_was_not_told(tmp_path: Path, opened: ExitStack) -> None:
    hook, box = opened.enter_context(webhook(404)), opened.enter_context(mailbox("550 no such mailbox"))
    status, rows = await Desk(tmp_path, hooked(hook), box.channel()).tell()
    assert status == "failed"
    assert outcomes(rows) == [("webhook", "failed"), ("smtp", "failed")]
    assert [row.error for row in rows] == ["answered 404", "550 no such mailbox"]


async def test_a_mail_server_that_is_busy_is_asked_again(tmp_path: Path, opened: ExitStack) -> None:
    box = opened.enter_context(mailbox("451 try later"))
    _, rows = await Desk(tmp_path, box.channel()).tell()
    assert outcomes(rows) == [("smtp", "retry"), ("smtp", "sent")]
    assert len(box.mails) == 1


async def test_a_relay_that_has_the_mail_and_hangs_then_does_not_get_it_again(
    tmp_path: Path, opened: ExitStack
) -> None:
    box = opened.enter_context(mailbox())
    box.farewell = False
    _, rows = await Desk(tmp_path, box.channel(), timeout_s=2.0).tell()
    assert outcomes(rows) == [("smtp", "sent")]
    assert len(box.mails) == 1


async def test_a_receiver_that_hangs_is_left_after_the_time_out(tmp_path: Path, opened: ExitStack) -> None:
    hook = opened.enter_context(webhook("hang"))
    desk = Desk(tmp_path, hooked(hook), timeout_s=0.3)
    status, rows = await desk.tell()
    assert status == "sent"
    assert outcomes(rows) == [("webhook", "retry"), ("webhook", "sent")]
    assert rows[0].error == "no answer within 0.3 s"
    assert len({request.headers["Idempotency-Key"] for request in hook.requests}) == 1


async def test_nobody_listening_is_an_attempt_too(tmp_path: Path, opened: ExitStack) -> None:
    with webhook() as gone, mailbox() as closed:
        pass
    box = opened.enter_context(mailbox())
    _, rows = await Desk(tmp_path, hooked(gone), closed.channel(), box.channel()).tell()
    assert outcomes(rows) == [
        *[("webhook", "retry")] * 2,
        ("webhook", "failed"),
        *[("smtp", "retry")] * 2,
        ("smtp", "failed"),
        ("smtp", "sent"),
    ]


async def test_a_missing_secret_is_told_and_nothing_is_sent(
    tmp_path: Path, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_HOOK_SECRET")
    hook = opened.enter_context(webhook())
    status, rows = await Desk(tmp_path, hooked(hook)).tell()
    assert (status, rows[0].error) == ("failed", "environment variable TEST_HOOK_SECRET is not set")
    assert hook.requests == []


async def test_a_relay_without_starttls_gets_neither_password_nor_mail(tmp_path: Path, opened: ExitStack) -> None:
    box = opened.enter_context(mailbox())
    (tmp_path / "password").write_text("invented\n")
    channel = box.channel().replace(
        "starttls: false", f"starttls: true, user: tocsin, password: 'file:{tmp_path}/password'"
    )
    status, rows = await Desk(tmp_path, channel).tell()
    assert (status, outcomes(rows)) == ("failed", [("smtp", "failed")])
    assert "STARTTLS" in rows[0].error
    assert box.mails == []


async def test_apprise_carries_it_to_any_service_and_its_address_shows_no_token(
    tmp_path: Path, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = opened.enter_context(webhook(500))
    address = hook.url.replace("http://", "json://tocsin:invented-token@")
    monkeypatch.setenv("TEST_APPRISE", address)
    status, rows = await Desk(tmp_path, "{apprise: env:TEST_APPRISE}").tell()
    assert (status, outcomes(rows)) == ("sent", [("apprise", "retry"), ("apprise", "sent")])
    [taken] = hook.taken
    assert json.loads(taken.body)["title"].startswith("[P1] Alert: One document")
    assert rows[0].address == "env:TEST_APPRISE"
    assert "invented-token" not in "".join(row.model_dump_json() for row in rows)


async def test_a_channel_whose_rate_is_used_up_gives_way_to_the_next(tmp_path: Path, opened: ExitStack) -> None:
    hook, box = opened.enter_context(webhook()), opened.enter_context(mailbox())
    desk = Desk(tmp_path, hooked(hook, ", rate_limit: 1"), box.channel())
    await desk.tell()
    _, rows = await desk.tell(notification("n2"))
    assert outcomes(rows) == [("webhook", "rate_limited"), ("smtp", "sent")]
    assert (len(hook.taken), len(box.mails)) == (1, 1)


async def test_a_channel_that_was_left_out_is_waited_for_when_the_others_fail(
    tmp_path: Path, opened: ExitStack
) -> None:
    hook, broken = opened.enter_context(webhook()), opened.enter_context(webhook(404))
    desk = Desk(tmp_path, hooked(hook, ", rate_limit: 1"), hooked(broken))
    await desk.tell()
    status, rows = await desk.tell(notification("n2"))
    assert status == "sent"
    assert [row.outcome for row in rows] == ["rate_limited", "failed", "sent"]
    assert round((rows[-1].at - NOW).total_seconds()) == 60


async def test_an_unknown_person_and_a_broken_sender_are_failures_and_no_errors(tmp_path: Path) -> None:
    class Broken(Senders):
        async def send(self, *_: object) -> None:
            raise RuntimeError("token=invented")

    desk = Desk(tmp_path, "{log: true}")
    status, rows = await desk.tell(notification(person="nobody"))
    assert (status, rows[0].error) == ("failed", "the on-call policy has no such person")
    desk.deliverer = Deliverer(policy(tmp_path, "{log: true}"), desk_url=DESK, senders=Broken())
    status, rows = await desk.tell()
    assert (status, rows[0].error) == ("failed", "RuntimeError: see the log of the worker")


async def test_attempts_go_on_counting_after_a_restart(tmp_path: Path) -> None:
    _, rows = await Desk(tmp_path, "{log: true}").tell(notification(attempts=3))
    assert rows[0].attempt == 4


async def test_a_test_message_tries_every_channel(tmp_path: Path, opened: ExitStack) -> None:
    hook, box = opened.enter_context(webhook()), opened.enter_context(mailbox())
    rows = await Desk(tmp_path, hooked(hook), box.channel()).deliverer.test("mira", NOW)
    assert outcomes(rows) == [("webhook", "sent"), ("smtp", "sent")]
    assert "Nothing has happened" in box.mails[0].get_content()
    assert (len(hook.taken), len(box.mails)) == (1, 1)


async def test_receivers_got_exactly_what_the_log_says(tmp_path: Path, opened: ExitStack) -> None:
    hook: Hook = opened.enter_context(webhook(500, 200, (429, "1"), 200, 503, 503, 503))
    box: Mailbox = opened.enter_context(mailbox("451 later"))
    desk = Desk(tmp_path, hooked(hook), box.channel())
    rows = [row for number in range(8) for row in (await desk.tell(notification(f"n{number}")))[1]]
    sent = [row for row in rows if row.outcome == "sent"]
    assert sorted(row.notification_id for row in sent) == [f"n{number}" for number in range(8)]
    by_hook = [opaque(row.notification_id) for row in sent if row.channel == "webhook"]
    by_mail = [f"<{opaque(row.notification_id)}@desk.example>" for row in sent if row.channel == "smtp"]
    assert [request.headers["Idempotency-Key"] for request in hook.taken] == by_hook
    assert [mail["Message-ID"] for mail in box.mails] == by_mail
    assert len([row for row in rows if row.channel == "webhook" and row.outcome != "rate_limited"]) == len(
        hook.requests
    )
