# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of message, and the typed places they travel through: endpoint, topic, bucket."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec

from shared.errors import Refusal
from shared.identifiers import CommandIdText

API: Final = "l3af.v1.api"
"""Where people and other systems ask: through the service import, so callers are attested."""
INTERNAL: Final = "l3af.v1.int"
"""Where services and nodes ask one another, inside the control account."""
EVENTS: Final = "l3af.v1.evt"
TELEMETRY: Final = "l3af.v1.tel"
ARTIFACTS: Final = "l3af.v1.art"
GATES: Final = "l3af.v1.gate"
"""Where principals are asked whether a wave of a rollout is well."""
FENCES: Final = "l3af.v1.fence"
"""Beside the keys of a fenced bucket: who may write there (`shared.contracts.leadership`)."""

ServiceName = Literal["catalog", "scheduler", "node", "auditor"]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reply, record or event body.  Unknown fields are ignored; a new field needs a default."""


class Document(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Something a person or program wrote.  An unknown field is refused by name."""


class Request(Document, frozen=True, kw_only=True):
    """What an endpoint that changes nothing takes."""


class Command(Request, frozen=True, kw_only=True):
    """What an endpoint that changes something takes."""

    command_id: CommandIdText = ""
    """Chosen by the caller so that a repeat has no second effect; empty: the service makes one."""
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    """Why, in the caller's words; goes into the audit log."""


class Accepted(Message, frozen=True, kw_only=True):
    """The command is durable; what follows from it happens even if every process dies now."""

    command_id: str


class CommandOutcome(Message, frozen=True, kw_only=True):
    """What the outbox stores as the answer to a command: exactly one of the two is set."""

    reply: Any = None
    """The reply as plain JSON."""
    refusal: Refusal | None = None


RequestT = TypeVar("RequestT", bound=Request)
ReplyT = TypeVar("ReplyT", bound=Message)
MessageT = TypeVar("MessageT", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[RequestT, ReplyT]):
    """One request/reply subject: what it takes and what it gives back."""

    subject: str
    """May hold `{node}`, filled by `at`."""
    request: type[RequestT]
    reply: type[ReplyT]

    def at(self, **tokens: str) -> Endpoint[RequestT, ReplyT]:
        """This endpoint with its placeholders filled; `node="*"` makes the wildcard."""
        return replace(self, subject=self.subject.format(**tokens))

    @property
    def is_command(self) -> bool:
        """Whether the request changes something, and so passes the outbox."""
        return issubclass(self.request, Command)


@dataclass(frozen=True, slots=True)
class Topic(Generic[MessageT]):
    """One subject of core messages that nobody stores."""

    subject: str
    message: type[MessageT]

    def at(self, **tokens: str) -> Topic[MessageT]:
        """This topic with its placeholders filled."""
        return replace(self, subject=self.subject.format(**tokens))


@dataclass(frozen=True, slots=True)
class Bucket(Generic[MessageT]):
    """One JetStream key-value bucket (stream `KV_<name>`, subjects `$KV.<name>.<key>`)."""

    name: str
    record: type[MessageT]
    history: int = 1
    """Revisions kept for each key, 1 to 64."""
    message_ttl: bool = False
    """Whether single keys may expire (ADR-48)."""
    max_value_bytes: int = 512 * 1024
    has_writer_per_key: bool = False
    """Whether an unreadable record concerns its key alone, because each key has its own writer."""
    is_synced: bool = True
    """Whether a write is on the disk before it is acknowledged; what is written again all the time
    need not be."""
    is_fenced: bool = False
    """Whether one of several processes writes it, the leader (`shared.contracts.leadership`)."""
