"""Asks the lifecycle worker for something and waits for what became of it."""

from __future__ import annotations

import asyncio
import threading
import uuid
from datetime import datetime
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dashboards.desk.live import Live
from processors.commands import command_producer, produce
from schemas.lifecycle import Action, Command, Verb, Via
from schemas.settings import Settings

ANSWER_S: Final = 5.0
SEEN_S: Final = 1.0
POLL_S: Final = 0.5


class NoAnswerError(Exception):
    """The lifecycle worker has not answered; the request may still be carried out. The message says what to do."""


def command(verb: Verb, alert_id: str, by: str, at: datetime, via: Via = "desk", **fields: Any) -> Command:
    """A command with an id of its own; ``fields`` are those of :class:`Command`."""
    return Command(command_id=str(uuid.uuid4()), verb=verb, alert_id=alert_id, by=by, via=via, at=at, **fields)


class Commands:
    """Sends to ``commands.v1``; the answers come through ``live``. Use from the event loop."""

    def __init__(self, settings: Settings, live: Live) -> None:
        self._settings, self._live = settings, live
        self._producer: Producer | None = None
        self._stop = threading.Event()

    async def ask(self, command: Command) -> Action:
        """Send the command and wait for its action, accepted or refused; after an accepted one ``live`` shows it.

        Raises:
            NoAnswerError: none within ``ANSWER_S`` seconds, or Kafka did not take the command.
        """
        future = self._live.expect(command.command_id)
        try:
            self._send(command, future)
            async with asyncio.timeout(ANSWER_S):
                action = await future
        except TimeoutError as error:
            raise NoAnswerError(
                f"The lifecycle worker has not answered within {ANSWER_S:.0f} s. The request may still be carried out: "
                "look at the alert before asking again. Is the part lifecycle-0 running (its log says why not)?"
            ) from error
        finally:
            future.cancel()
        await self._seen(action)
        return action

    def _send(self, command: Command, future: asyncio.Future[Action]) -> None:
        loop = asyncio.get_running_loop()

        def failed(reason: str) -> None:
            if not future.done():
                future.set_exception(NoAnswerError(f"Kafka did not take the request ({reason}). Nothing was changed."))

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                loop.call_soon_threadsafe(failed, error.str())

        try:
            producer = self._producer = self._producer or self._connect()
            produce(producer, command, delivered)
        except (BufferError, KafkaException) as error:
            failed(str(error))

    async def _seen(self, action: Action) -> None:
        """Wait a moment until the state has come in too: its topic is read beside that of the actions."""
        deadline = asyncio.get_running_loop().time() + SEEN_S
        while action.accepted and asyncio.get_running_loop().time() < deadline:
            state = self._live.states.get(action.alert_id)
            if state is None or state.revision >= action.revision:
                return
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Stop polling; what was sent and not taken yet is given up."""
        self._stop.set()

    def _poll(self, producer: Producer) -> None:
        """On a thread of its own, one for all requests: librdkafka calls back only while somebody polls it."""
        while not self._stop.is_set():
            producer.poll(POLL_S)

    def _connect(self) -> Producer:
        producer = command_producer(self._settings, ANSWER_S)
        threading.Thread(target=self._poll, args=(producer,), name="commands", daemon=True).start()
        return producer
