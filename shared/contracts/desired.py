# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the scheduler tells a node to run."""

from __future__ import annotations

from typing import Any, Final

from shared.contracts.base import Bucket, Document, Message
from shared.contracts.catalog import SignedPackage
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.licences import StatedLicence
from shared.contracts.link_options import LinkOptions
from shared.contracts.metrics import MetricSource
from shared.contracts.node_companions import DesiredCompanion
from shared.contracts.package_manifest import MapPolicy
from shared.contracts.probes import ProbeTarget
from shared.contracts.spaces import SpaceText
from shared.deployment_keys import DeploymentKey
from shared.identifiers import Hook, NetnsText, PlaceText, Token, render_place

MapConfig = dict[str, Any]
"""Key in text form to value, as the map's types and the package's formats have it.  Keys: what the
format writes (`10.0.0.0/8`, a name), else JSON as text (`80`, `[1,2]`, `{"port":80}`)."""


class DesiredProgram(Document, frozen=True, kw_only=True):
    """One program in a chain."""

    deployment: DeploymentKey
    """The instance's key; maps and counters belong to (hook point, deployment, instance)."""
    revision: int
    """The deployment's revision that put it here."""
    package: Token
    version: str
    program: Token
    function: str
    object: str
    order: int
    """Position key, lower runs first; one that has a place only beside others has the key of whom
    it follows, at the head 0."""
    has_packages_order: bool = False
    """Whether its deployment leaves the place to the package, which says so."""
    proceed_on: tuple[str, ...]
    """Verdict names after which the next program runs; never empty, except for a probe."""
    config: dict[str, MapConfig] = {}
    constants: dict[str, Any] = {}
    """Values of global variables that are part of the code: others are another program."""
    variables: dict[str, Any] = {}
    """Values of global variables that change while the program runs."""
    map_policies: dict[str, MapPolicy] = {}
    """What happens to a map whose layout changes, by its name; not named: it is refused."""
    metrics: dict[str, MetricSource] = {}
    companions: dict[Token, DesiredCompanion] = {}
    """All of the package, by name."""
    signed: SignedPackage
    licence: StatedLicence | None = None
    """Null: accepted by a release that did not pass it on."""
    instance: int = 0
    """The revision with which it began anew, by being deployed again after it was removed or with
    another package or hook; 0: it never did.  Another instance takes over no maps and no counts."""


class Cause(Document, frozen=True, kw_only=True):
    """Which command led to this state, and who gave it."""

    command_id: str
    actor_key: str = ""
    actor_role: str = ""
    actor_address: str = ""
    """Keyed HMAC of the address that the command came from; empty: not known."""
    audience: SpaceText = PUBLIC
    """Who may know of the command; it can have left a chain that everybody sees."""


class DesiredChain(Document, frozen=True, kw_only=True):
    """What one hook point of one node shall run, first program first.  Empty: nothing of ours."""

    interface: PlaceText
    """Of a probe: its place, which `probe_places` makes of the deployment's key."""
    hook: Hook
    programs: tuple[DesiredProgram, ...]
    cause: Cause
    link: LinkOptions = LinkOptions()
    netns: NetnsText = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""
    audience: SpaceText = PUBLIC
    """Who is told what happens here: the one space with a program in the chain that not everybody
    sees, else everybody."""
    target: ProbeTarget | None = None
    """What a probe is attached to; None: the hook is a network hook."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class DesiredNode(Message, frozen=True, kw_only=True):
    """KV `desired`, key = node: ONE record holds all hook points, so one change is one revision."""

    node: Token
    generation: int
    """Goes up by one with each change of what a chain runs."""
    chains: tuple[DesiredChain, ...]
    members: dict[Audience, tuple[str, ...]] = {}
    """Of each audience of a chain that is not public: names of those who see it, ascending."""


DESIRED: Final = Bucket("desired", DesiredNode, history=8, is_fenced=True)
