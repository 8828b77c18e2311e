# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af policy`: what holds of every rollout, whatever its deployment says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, plain, refusing, run
from cli.kept_documents import SETTING_DEFAULTS, SettingOptions, setting, who_set
from cli.moments import parse_moment, shown_moment
from cli.policy_document import read_policy
from cli.session import ask
from shared.contracts.rollout_policy import (
    GET_ROLLOUT_POLICY,
    SET_ROLLOUT_POLICY,
    TRY_ROLLOUT_POLICY,
    GetRolloutPolicy,
    PolicyRule,
    PolicyTried,
    RolloutPolicySet,
    RolloutPolicyShown,
    SetRolloutPolicy,
    TryRolloutPolicy,
)
from shared.validation import convert_document

app = cyclopts.App(name="policy", help="What holds of all deployments, whatever they say.")
rollout = cyclopts.App(
    name="rollout", help="When and how many rollouts may go on, and who must approve them."
)
app.command(rollout)


@rollout.command
def show(*, json: JsonFlag = False, credentials: CredentialsOption = None) -> None:
    """Show the policy in force, and who set it.

    With --json, what is under `policy` is what `set` takes.
    """
    shown = run(ask(GET_ROLLOUT_POLICY, GetRolloutPolicy(), credentials), json=json)
    emit(shown, _shown, json=json)


@rollout.command(name="set")
def set_(file: Path, *, options: SettingOptions = SETTING_DEFAULTS) -> None:
    """Make the policy what a file says, for rollouts that go on too (administrators).

    Parameters
    ----------
    file
        TOML, or YAML or JSON by the end of its name.  Without rules nothing holds.
    """
    with refusing(json=options.json):
        policy = read_policy(file)
        command = setting(SetRolloutPolicy, options, what="policy", policy=policy)
    answer = run(ask(SET_ROLLOUT_POLICY, command, options.credentials), json=options.json)
    emit(answer, _set, json=options.json)


@rollout.command(name="test")
def try_(
    file: Path | None = None,
    *,
    deployment: Annotated[str, Parameter(help="By its key; left out: all that you see.")] = "",
    at: Annotated[
        str, Parameter(help="When they would begin, as 2026-12-24T18:00:00Z; left out: now.")
    ] = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What a policy would say of each deployment if it were rolled out; changes nothing.

    Parameters
    ----------
    file
        A policy; left out: the one in force.
    """
    with refusing(json=json):
        moment = parse_moment(at, now=datetime.now(UTC), path="--at") if at else ""
        fields = {"at": moment, "deployment": deployment}
        request = convert_document(fields, TryRolloutPolicy, what="policy")
        policy = read_policy(file) if file is not None else None
    request = msgspec.structs.replace(request, policy=policy)
    emit(run(ask(TRY_ROLLOUT_POLICY, request, credentials), json=json), _tried, json=json)


def _set(reply: RolloutPolicySet) -> RenderableType:
    return Text(f"the rollout policy is in force, generation {reply.generation}")


def _shown(shown: RolloutPolicyShown) -> RenderableType:
    if not shown.generation:
        return Text("no rollout policy was ever set: every deployment decides alone")
    head = Text(who_set(shown))
    if not shown.policy.rules:
        return Group(head, Text("it has no rules: every deployment decides alone"))
    return Group(head, *(one for rule in shown.policy.rules for one in _rule(rule)))


def _rule(rule: PolicyRule) -> Iterator[RenderableType]:
    """Its name, and below it what it says in the words of its document."""
    yield Text(rule.name + (f": {plain(rule.reason)}" if rule.reason else ""), style="bold")
    facts = Table.grid(padding=(0, 2))
    for name, value in msgspec.to_builtins(rule).items():
        if name not in ("name", "reason"):
            facts.add_row(f"  {name}", plain(msgspec.json.encode(value).decode()))
    yield facts


def _tried(tried: PolicyTried) -> RenderableType:
    if not tried.effects:
        return Text("there is no deployment that you see")
    table = Table("deployment", "rules", "approvals", "until", "would wait for", box=None)
    for one in tried.effects:
        until = f"{shown_moment(one.until)} UTC" if one.until else ""
        held = plain(one.why) or "nothing"
        table.add_row(one.deployment, ", ".join(one.rules), str(one.approvals or ""), until, held)
    parts: list[RenderableType] = [Text(f"if begun at {shown_moment(tried.at)} UTC"), table]
    if tried.more:
        parts.append(Text(f"and {tried.more} more: name one with --deployment", style="yellow"))
    return Group(*parts)
