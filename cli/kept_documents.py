# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Documents that an installation keeps by generation: what setting one can be told, who set it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec
from cyclopts import Parameter

from cli.console import CredentialsOption, JsonFlag, plain
from cli.moments import shown_moment
from cli.rollout import CommandIdOption, ReasonOption, chosen_id
from shared.contracts.base import Command
from shared.validation import convert_document

CommandT = TypeVar("CommandT", bound=Command)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SettingOptions:
    """What every command that sets a document can be told."""

    if_generation: Annotated[
        int | None,
        Parameter(
            name="--if-generation",
            help="Refuse unless what is in force is of this generation, as shown.",
        ),
    ] = None
    reason: ReasonOption = ""
    command_id: CommandIdOption = ""
    json: JsonFlag = False
    credentials: CredentialsOption = None


SETTING_DEFAULTS: Final = SettingOptions()


class Setting(Protocol):
    """What a kept document is shown with."""

    @property
    def generation(self) -> int:
        """Up by one each time it is set; 0: it never was."""

    @property
    def actor_key(self) -> str:
        """Public key of who set it."""

    @property
    def actor_role(self) -> str:
        """In which role."""

    @property
    def at(self) -> str:
        """When, RFC 3339."""

    @property
    def reason(self) -> str:
        """Why, in their words; empty: they gave none."""


def setting(
    kind: type[CommandT], options: SettingOptions, *, what: str, **document: msgspec.Struct
) -> CommandT:
    """The command that sets a document.

    Args:
        kind: Of the command.
        options: What it was told.
        what: How a refusal names it.
        document: The field that takes the document, which was checked, and the document.

    Raises:
        RefusedError: An option is not what the command takes; every problem with its path.
    """
    fields: dict[str, Any] = {
        "if_generation": options.if_generation,
        "reason": options.reason,
        "command_id": chosen_id(options.command_id),
        **{name: msgspec.to_builtins(one) for name, one in document.items()},
    }
    return convert_document(fields, kind, what=what)


def who_set(shown: Setting) -> str:
    """Generation, moment, principal and reason, in a line."""
    why = f": {plain(shown.reason)}" if shown.reason else ""
    who = f"{plain(shown.actor_key)} ({plain(shown.actor_role)})"
    return f"generation {shown.generation}, set {shown_moment(shown.at)} UTC by {who}{why}"
