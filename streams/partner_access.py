"""What a partner may do in Kafka: its user, and the rights that its agreement gives it and nothing else.

Rights are Kafka's ACLs for the StandardAuthorizer, users are SCRAM credentials that the brokers keep. A partner may
write to the topics of its families. It reads nothing: quarantine and alerts hold what other partners sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs re-export without saying so
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from schemas.partners import Partner
from schemas.registry import topic_of
from schemas.settings import Settings
from streams.kafka import client_config, unreachable

OPERATIONS: Final = ("Write", "Describe")
ITERATIONS: Final = 8192
REQUEST_TIMEOUT_S: Final = 30.0
Acl = TypeVar("Acl", AclBinding, AclBindingFilter)


class PartnerAccessError(RuntimeError):
    """Kafka did not take a change of a partner's access; the message says why and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One ACL of a principal; texts as Kafka's tools say them."""

    resource: str
    name: str
    pattern: str
    operation: str
    permission: str = "Allow"
    host: str = "*"


@dataclass(frozen=True, slots=True)
class Access:
    """What a partner has, or would have: the rights, which of them are new, and those that are taken away.

    ``password`` is that of a new credential and None where the old one stays.
    """

    user: str
    rights: tuple[Right, ...]
    added: tuple[Right, ...]
    removed: tuple[Right, ...]
    password: str | None = None


def user_of(partner: Partner) -> str:
    """The name with which a partner logs in."""
    return partner.kafka_principal.removeprefix("User:")


def rights_of(partner: Partner) -> tuple[Right, ...]:
    """What the agreement gives a partner."""
    return tuple(
        Right("Topic", topic_of(family), "Literal", operation)
        for family in partner.families
        for operation in OPERATIONS
    )


class PartnerAccess:
    """Users and rights of partners on one cluster; every method blocks.

    Raises, in every method:
        PartnerAccessError: no broker answers, it refuses, or it checks nobody's rights.
    """

    def __init__(self, settings: Settings) -> None:
        self._config = client_config(settings)
        self._admin = AdminClient({**self._config, "socket.timeout.ms": 10_000, "log_level": 2})

    def plan(self, partner: Partner) -> Access:
        """What :meth:`grant` would change; changes nothing."""
        wanted, present = rights_of(partner), set(self._present(partner))
        added = tuple(right for right in wanted if right not in present)
        return Access(user_of(partner), wanted, added, tuple(sorted(present - set(wanted))))

    def has_user(self, partner: Partner) -> bool:
        """Whether the partner can log in."""
        user = user_of(partner)
        described: Any = self._admin.describe_user_scram_credentials([user])
        (future,) = described.values()
        try:
            return bool(future.result(REQUEST_TIMEOUT_S).scram_credential_infos)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.RESOURCE_NOT_FOUND:
                return False
            raise PartnerAccessError(unreachable(self._config, error)) from error

    def grant(self, partner: Partner, *, rotate: bool = False) -> Access:
        """Give a partner the rights of its agreement and take away others; make its user where there is none, and with
        ``rotate`` give it a new password, which ends the old one. May be repeated."""
        planned = self.plan(partner)
        # Rights first: a user without rights is of no use, and rights without a user harm nobody.
        added = [_binding(partner.kafka_principal, each, AclBinding) for each in planned.added]
        self._done(self._admin.create_acls(added) if added else {})
        self._take_away(partner, planned.removed)
        if not rotate and self.has_user(partner):
            return planned
        password = secrets.token_urlsafe(32)
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
        self._done(
            self._admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(planned.user, credential, password.encode())]
            )
        )
        return Access(planned.user, planned.rights, planned.added, planned.removed, password)

    def revoke(self, partner: Partner) -> Access:
        """Take a partner's user and all its rights away; a connection that is still open is of no use without them.
        May be repeated."""
        present = tuple(sorted(self._present(partner)))
        self._take_away(partner, present)
        if self.has_user(partner):
            gone = UserScramCredentialDeletion(user_of(partner), ScramMechanism.SCRAM_SHA_512)
            self._done(self._admin.alter_user_scram_credentials([gone]))
        return Access(user_of(partner), (), (), present)

    def _present(self, partner: Partner) -> list[Right]:
        try:
            found = self._admin.describe_acls(_any_of(partner.kafka_principal)).result(REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise self._refused(error) from error
        return [
            Right(
                _shown(acl.restype),
                acl.name,
                _shown(acl.resource_pattern_type),
                _shown(acl.operation),
                _shown(acl.permission_type),
                acl.host,
            )
            for acl in found
        ]

    def _take_away(self, partner: Partner, rights: Iterable[Right]) -> None:
        filters = [_binding(partner.kafka_principal, right, AclBindingFilter) for right in rights]
        self._done(self._admin.delete_acls(filters) if filters else {})

    def _done(self, futures: dict[Any, Future[Any]]) -> None:
        for future in futures.values():
            try:
                future.result(REQUEST_TIMEOUT_S)
            except KafkaException as error:
                raise self._refused(error) from error

    def _refused(self, error: KafkaException) -> PartnerAccessError:
        if error.args[0].code() == KafkaError.SECURITY_DISABLED:
            where = self._config["bootstrap.servers"]
            return PartnerAccessError(
                f"Kafka at {where} checks nobody's rights: set authorizer.class.name="
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer and super.users on every broker and controller"
            )
        return PartnerAccessError(unreachable(self._config, error))


def _shown(value: Any) -> str:
    """TOPIC of an enumeration as Topic."""
    return str(value.name).title()


def _binding(principal: str, right: Right, of: type[Acl]) -> Acl:
    return of(
        ResourceType[right.resource.upper()],
        right.name,
        ResourcePatternType[right.pattern.upper()],
        principal,
        right.host,
        AclOperation[right.operation.upper()],
        AclPermissionType[right.permission.upper()],
    )


def _any_of(principal: str) -> AclBindingFilter:
    anything: Any = None  # any name, from any host: the stubs know of texts only
    everything = (AclOperation.ANY, AclPermissionType.ANY)
    return AclBindingFilter(ResourceType.ANY, anything, ResourcePatternType.ANY, principal, anything, *everything)
