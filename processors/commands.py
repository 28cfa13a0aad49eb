"""Asking the lifecycle worker for something, and hearing what became of it: ``commands.v1`` out, ``actions.v1`` in."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from pydantic import ValidationError

from schemas.lifecycle import ACTIONS_TOPIC, COMMANDS_TOPIC, Action, Command
from schemas.settings import Settings
from streams.kafka import client_config, unreachable

SEND_TIMEOUT_S = 10.0


class CommandError(RuntimeError):
    """A command that Kafka did not take, so that nothing was asked; the message names the broker and the reason."""


class NoAnswerError(RuntimeError):
    """A command that was sent and not answered in time. It may still take effect: ask for the alert's state before
    sending it again. Sent again under the same ``command_id`` it takes effect once."""


def command_producer(settings: Settings, timeout_s: float) -> Producer:
    """A producer for commands. One that Kafka has not taken within ``timeout_s`` is given up: a request that nobody
    waits for any longer must not be carried out minutes later."""
    return Producer(
        {
            **client_config(settings),
            "client.id": "tocsin-commands",
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "delivery.timeout.ms": int(timeout_s * 1000),
            "log_level": 2,
        }
    )


def produce(producer: Producer, command: Command, on_delivery: Callable[[KafkaError | None, Message], None]) -> None:
    """Queue a command for ``commands.v1``.

    Raises:
        BufferError, KafkaException: the producer does not take it.
    """
    key = (command.alert_id or command.silence_id or command.command_id).encode()
    producer.produce(COMMANDS_TOPIC, command.model_dump_json().encode(), key, 0, on_delivery=on_delivery)


class CommandSender:
    """Sends commands and waits for their actions. Blocks; not for use by several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self._access = client_config(settings)
        self._producer = command_producer(settings, SEND_TIMEOUT_S)
        self._actions: Consumer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, command: Command) -> None:
        """Send; returns once the brokers have it.

        Raises:
            CommandError: they do not.
        """
        failed: list[str] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error.str())

        produce(self._producer, command, delivered)
        left = self._producer.flush(SEND_TIMEOUT_S + 1)
        if failed or left:
            why = failed[0] if failed else f"no answer within {SEND_TIMEOUT_S:.0f} s"
            raise CommandError(
                f"{COMMANDS_TOPIC} on {self._access['bootstrap.servers']} does not take the command: {why}. Is the "
                "platform up ('tocsin up'), and TOCSIN_KAFKA_BOOTSTRAP right?"
            )

    def ask(self, command: Command, timeout_s: float = 10.0) -> Action:
        """Send, and wait for what became of it: an action with ``accepted`` true or false.

        Raises:
            CommandError: it could not be sent.
            NoAnswerError: no action for it within ``timeout_s`` seconds.
        """
        actions = self._from_now_on()
        self.send(command)
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            message = actions.poll(min(left, 0.5))
            if message is None or message.error():
                continue
            action = _read(message.value())
            if action is not None and action.command_id == command.command_id:
                return action
        raise NoAnswerError(
            f"no answer to '{command.verb}' within {timeout_s:.0f} s. Is the lifecycle worker up? The command stays on "
            f"{COMMANDS_TOPIC} and may still take effect: look at the alert before you try again."
        )

    def _from_now_on(self) -> Consumer:
        """A consumer at the end of the actions, so that it hears the answer to what is sent next."""
        if self._actions is None:
            self._actions = Consumer(
                {
                    **self._access,
                    "group.id": "tocsin-commands",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "latest",
                    "fetch.wait.max.ms": 50,
                    "log_level": 2,
                }
            )
            try:
                _, end = self._actions.get_watermark_offsets(TopicPartition(ACTIONS_TOPIC, 0), timeout=SEND_TIMEOUT_S)
            except KafkaException as error:
                self._actions = None
                raise CommandError(f"{ACTIONS_TOPIC} cannot be read: {unreachable(self._access, error)}") from error
            self._actions.assign([TopicPartition(ACTIONS_TOPIC, 0, end)])
        return self._actions

    def close(self) -> None:
        """Let go of the connections."""
        if self._actions is not None:
            self._actions.close()
            self._actions = None


def _read(value: bytes | str | None) -> Action | None:
    try:
        return Action.model_validate_json(value or b"")
    except ValidationError:
        return None
