# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One command to a service, from the words on the command line to what is shown of the reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rich.console import RenderableType

from cli.console import emit, refusing, run
from cli.session import ask
from shared.adapters.bus import REQUEST_SECONDS
from shared.contracts.base import Command, Endpoint, Message
from shared.validation import convert_document

CommandT = TypeVar("CommandT", bound=Command)
ReplyT = TypeVar("ReplyT", bound=Message)


def issue(
    endpoint: Endpoint[CommandT, ReplyT],
    fields: Mapping[str, Any],
    render: Callable[[ReplyT], RenderableType],
    credentials: Path | None,
    *,
    what: str = "command",
    json: bool,
    timeout_seconds: float = REQUEST_SECONDS,
) -> None:
    """The command is decided and its reply shown; fields that break rules are refused before.

    Args:
        endpoint: Who decides.
        fields: All of the command's.
        render: What people see of the reply.
        credentials: Whom to speak as; None: as `cli.session` finds.
        what: What a refusal calls the fields.
        json: Whether the reply is printed as one JSON document.
        timeout_seconds: How long the reply is waited for.
    """
    with refusing(json=json):
        command = convert_document(dict(fields), endpoint.request, what=what)
    asked = ask(endpoint, command, credentials, timeout_seconds=timeout_seconds)
    emit(run(asked, json=json), render, json=json)
