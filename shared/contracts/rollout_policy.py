# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The rollout policy: what holds of every rollout, whatever its deployment says."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import (
    API,
    Accepted,
    Bucket,
    Command,
    Document,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.deployments import ON_REVOKED, MomentText, OnWaiverExpired
from shared.contracts.node import LabelKey
from shared.contracts.rollouts import ChangeWindow, Share
from shared.contracts.selectors import NodeSelector
from shared.contracts.spaces import SpaceText
from shared.identifiers import Hook, Token

MAX_RULES: Final = 100
POLICY_KEY: Final = "policy"

NameGlob = Annotated[str, Meta(pattern=r"^[a-z0-9*?\[\]!-]{1,63}(?!\n)$")]
OverrideRole = Literal["operator", "approver", "administrator"]


class DeploymentSelector(Document, frozen=True, kw_only=True):
    """Which deployments: all that is said must hold; if nothing is said, every one."""

    packages: Annotated[tuple[NameGlob, ...], Meta(max_length=64)] = ()
    """Name of its package, or globs; one of them must match."""
    spaces: Annotated[tuple[SpaceText, ...], Meta(max_length=64)] = ()
    """One of them is its space."""
    hooks: Annotated[tuple[Hook, ...], Meta(max_length=32)] = ()
    """One of them is its hook."""
    nodes: NodeSelector = NodeSelector()
    """It reaches at least one node that this selects."""


class PolicyRule(Document, frozen=True, kw_only=True):
    """What holds of the rollouts of some deployments; what several rules say holds all."""

    name: Token
    deployments: DeploymentSelector = DeploymentSelector()
    windows: Annotated[tuple[ChangeWindow, ...], Meta(max_length=32)] = ()
    """When a wave may begin, beside what the deployment says; none: at any time."""
    freezes: Annotated[tuple[ChangeWindow, ...], Meta(max_length=32)] = ()
    """When none may."""
    override: tuple[OverrideRole, ...] = ("administrator",)
    """Roles that may let a rollout begin all the same, with a reason; none: nobody may."""
    approvals: Annotated[int, Meta(ge=0, le=5)] = 0
    """How many others than who asked must approve before the first wave."""
    max_rollouts: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """How many of these deployments may be on their way at once."""
    failure_domain: LabelKey | None = None
    """Label of nodes that fail together."""
    max_rollouts_per_domain: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """How many of these deployments may change nodes of one failure domain at once."""
    max_unavailable: Share | None = None
    """How many of the nodes that `deployments.nodes` selects may be changed and not confirmed,
    failed or silent at a time, whatever deployment is to blame, for a further one to be changed."""
    on_revoked: Annotated[str, Meta(pattern=ON_REVOKED)] | None = None
    """What happens at least when the version that runs is revoked, as a deployment says it."""
    on_waiver_expired: OnWaiverExpired | None = None
    """What happens at least when the waiver ends that it runs by the grace of."""
    mixed_licences: Literal["warn", "refuse"] = "warn"
    """What becomes of a deployment that would bring code under the GPL alone and code that is not
    GPL-compatible into one chain: the plan says so, or it is refused."""
    reason: Annotated[str, Meta(max_length=1000)] = ""
    """Why there is the rule; shown where it holds something."""


class RolloutPolicy(Document, frozen=True, kw_only=True):
    """Everything that holds; without a rule nothing does."""

    rules: Annotated[tuple[PolicyRule, ...], Meta(max_length=MAX_RULES)] = ()


NO_POLICY: Final = RolloutPolicy()


class RolloutPolicyRecord(Message, frozen=True, kw_only=True):
    """KV `rollout_policy`, key `policy`."""

    policy: RolloutPolicy
    generation: int
    """Up by one with every accepted command."""
    command_id: str
    """The command that wrote this revision."""
    actor_key: str
    actor_role: str
    at: str
    reason: str = ""


ROLLOUT_POLICY: Final = Bucket("rollout_policy", RolloutPolicyRecord, is_fenced=True)


class GetRolloutPolicy(Request, frozen=True, kw_only=True):
    """The policy in force."""


class RolloutPolicyShown(Message, frozen=True, kw_only=True):
    """The policy, and who set it."""

    policy: RolloutPolicy
    """Rules that name a space which the caller does not see are not there."""
    generation: int = 0
    """Up by one each time it is set; 0: it never was."""
    actor_key: str = ""
    actor_role: str = ""
    at: str = ""
    reason: str = ""


class SetRolloutPolicy(Command, frozen=True, kw_only=True):
    """From now on this holds, also of rollouts that go on.

    Rules that name a space which the caller does not see stay as they are.
    """

    policy: RolloutPolicy
    if_generation: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    """What the policy's generation must be, so that nobody's change is overwritten unseen; null:
    whatever it is."""


class RolloutPolicySet(Accepted, frozen=True, kw_only=True):
    """It is in force."""

    generation: int


class TryRolloutPolicy(Request, frozen=True, kw_only=True):
    """What a policy would say of the deployments that there are; changes nothing."""

    policy: RolloutPolicy | None = None
    """Null: the one in force."""
    at: MomentText = ""
    """RFC 3339; empty: now."""
    deployment: Annotated[str, Meta(max_length=100)] = ""
    """By its key; empty: each that the caller sees."""


class PolicyEffect(Message, frozen=True, kw_only=True):
    """What the policy says of one deployment, if a revision of it were to begin."""

    deployment: str
    rules: tuple[str, ...] = ()
    """Names of those that concern it, in their order."""
    approvals: int = 0
    """How many others than who asks must approve; its own rollout counts too."""
    why: str = ""
    """What the first wave would wait for; empty: nothing."""
    until: str = ""
    """RFC 3339; empty: nothing holds it, or nobody can say."""
    on_revoked: str = "alarm"
    """What happens when its version is revoked, as it and the rules say together."""
    on_waiver_expired: OnWaiverExpired = "alarm"
    """The same for the end of a waiver."""


class PolicyTried(Message, frozen=True, kw_only=True):
    """By key, ascending."""

    at: str
    effects: tuple[PolicyEffect, ...] = ()
    more: int = 0
    """Deployments that have no room here."""


GET_ROLLOUT_POLICY: Final = Endpoint(
    f"{API}.scheduler.policy.get", GetRolloutPolicy, RolloutPolicyShown
)
SET_ROLLOUT_POLICY: Final = Endpoint(
    f"{API}.scheduler.policy.set", SetRolloutPolicy, RolloutPolicySet
)
TRY_ROLLOUT_POLICY: Final = Endpoint(f"{API}.scheduler.policy.test", TryRolloutPolicy, PolicyTried)
