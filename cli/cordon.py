# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af cordon` and `uncordon`: whether something new is put on a node."""

from __future__ import annotations

from rich.text import Text

from cli.commanding import issue
from cli.console import CredentialsOption, JsonFlag, NodeArgument
from cli.rollout import CommandIdOption, ReasonOption, chosen_id
from shared.contracts.cordons import CORDON_NODE, UNCORDON_NODE, NodeCordoned


def cordon(
    node: NodeArgument,
    /,
    *,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Put nothing new on a node; what is there stays, and follows its deployments."""
    fields = {"node": node, "reason": reason, "command_id": chosen_id(command_id)}
    issue(CORDON_NODE, fields, render_cordoned, credentials, what="cordon", json=json)


def uncordon(
    node: NodeArgument,
    /,
    *,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Put on a node again whatever means it, at once."""
    fields = {"node": node, "reason": reason, "command_id": chosen_id(command_id)}
    issue(UNCORDON_NODE, fields, render_cordoned, credentials, what="uncordon", json=json)


def render_cordoned(done: NodeCordoned) -> Text:
    """Whether it is cordoned now."""
    return Text(f"{done.node} is {'cordoned' if done.cordoned else 'not cordoned any more'}")
