# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a node, or one of its interfaces, can run a program, and what it lacks if not.

Rules:
 * What the node is known not to have excludes it; what it did not find out does not.  The trial on
   the node decides then.
 * A node whose platform no object of the program is for is excluded, and so is one whose kernel is
   outside the range that the package needs.
 * So is one for whose platform the package has a program and not each of its companions.
 * A feature that a package or a probe needs must be there by name: a node that does not know it is
   of an older release.
 * What is in a space goes to no node that would show it to those who do not see it.
 * The first requirement that fails is what is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from shared.contracts.deployments import (
    DeploymentRevision,
    DeploymentSpec,
    ResolvedProgram,
)
from shared.contracts.events import PUBLIC
from shared.contracts.link_options import LinkWishes
from shared.contracts.node import REDACTION
from shared.contracts.package_facts import ProgramRequirements
from shared.contracts.waivers import Waiver
from shared.identifiers import Hook, ProbeHook, is_probe
from shared.kernel_abilities import KernelAbilities, kernel_lack
from shared.kernel_versions import is_in_range
from shared.licensing.waivers import Subject, uncovered
from shared.probe_targets import program_type

_XDP_MODES: Final = {"native": "basic", "offload": "hw-offload"}
"""What the driver must say of itself for a way of attaching XDP."""
_WHAT: Final = {"native": "native XDP", "offload": "XDP in hardware"}


@dataclass(frozen=True, slots=True)
class InterfaceAbilities:
    """What is known of how XDP can run on an interface."""

    driver: str = ""
    xdp_features: tuple[str, ...] | None = None
    """None: the kernel does not say."""
    default_routes: tuple[str, ...] | None = None
    """Families whose default route leaves through it; None: the node does not say."""


@dataclass(frozen=True, slots=True)
class Excuses:
    """What a version was excused from by waivers when it was published."""

    subject: Subject
    rules: tuple[str, ...]


class NodeAbilities(Protocol):
    """What a node can do, as far as it found out."""

    @property
    def name(self) -> str:
        """Of the node."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Effective."""

    @property
    def waivers(self) -> Sequence[Waiver]:
        """In force anywhere."""

    @property
    def kernel(self) -> str:
        """As `uname -r` says."""

    @property
    def platform(self) -> str:
        """As `linux-` and what `uname -m` says; empty: not known."""

    @property
    def probed(self) -> KernelAbilities:
        """What the kernel answered."""

    @property
    def features(self) -> Mapping[str, bool]:
        """What was tried, by name."""

    @property
    def feature_notes(self) -> Mapping[str, str]:
        """By feature: why it is missing."""

    @property
    def interface_abilities(self) -> Mapping[str, InterfaceAbilities]:
        """By the interfaces' written form, with the network namespace."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a deployment asks of a node, beside its name, its labels and its interfaces."""

    hook: Hook
    link: LinkWishes
    features: tuple[str, ...] = ()
    """That the package needs, as `bcc`."""
    requires: ProgramRequirements | None = None
    """None: not known."""
    kernels: str = ""
    """Range that the node's kernel must be in; empty: every one is."""
    objects: Mapping[str, ProgramRequirements | None] = field(default_factory=dict)
    """By platform: what the object made for it requires, in place of `requires`."""
    has_other_object: bool = True
    """Whether nodes of other platforms than those have an object."""
    excuses: Excuses | None = None
    """What waivers must cover on the node; None: nothing."""
    companion_platforms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By companion of the package: what it was made for."""
    is_restricted: bool = False
    """Whether the node has to keep it from those who do not see it."""
    probe_type: str = ""
    """Of a probe: what the kernel calls programs for its target."""

    def on_platform(self, platform: str) -> Demand | None:
        """What is asked of a node of this platform; None: nothing is made for it."""
        if platform in self.objects:
            return replace(self, requires=self.objects[platform])
        return self if self.has_other_object else None

    @property
    def reads_fragments(self) -> bool:
        """Whether it is loaded as one that reads packets in several buffers."""
        if self.hook != "xdp" or self.link.frags == "off":
            return False
        return self.link.frags == "on" or (self.requires is not None and self.requires.fragments)

    @property
    def is_about_drivers(self) -> bool:
        """Whether it asks for a way of attaching XDP that not every driver has."""
        return self.hook == "xdp" and self.link.attach in _XDP_MODES


def demand_of(revision: DeploymentRevision) -> Demand:
    """What a revision asks of every node that it runs on."""
    resolved = revision.resolved
    return demand(revision.spec) if resolved is None else demand_for(revision.spec, resolved)


def demand_for(spec: DeploymentSpec, resolved: ResolvedProgram) -> Demand:
    """What a specification asks for with the program that it was resolved to."""
    return Demand(
        hook=spec.hook,
        link=spec.link,
        features=resolved.needs,
        requires=resolved.requires,
        kernels=resolved.kernels,
        objects={str(key): one.requires for key, one in resolved.objects.items()},
        has_other_object=bool(resolved.object),
        excuses=_excuses(spec, resolved),
        companion_platforms=resolved.companion_platforms,
        is_restricted=spec.space != PUBLIC,
        probe_type=_probe_type(spec),
    )


def _excuses(spec: DeploymentSpec, resolved: ResolvedProgram) -> Excuses | None:
    grace = resolved.grace
    if grace is None:
        return None
    archive = resolved.signed.archive_sha256
    subject = Subject(spec.package, grace.version, archive, grace.space)
    return Excuses(subject, grace.rules)


def demand(
    spec: DeploymentSpec,
    *,
    features: tuple[str, ...] = (),
    requires: ProgramRequirements | None = None,
) -> Demand:
    """What a specification asks for with a program that has these requirements."""
    return Demand(
        hook=spec.hook,
        link=spec.link,
        features=features,
        requires=requires,
        is_restricted=spec.space != PUBLIC,
        probe_type=_probe_type(spec),
    )


def _probe_type(spec: DeploymentSpec) -> str:
    """Of the first target: those of one deployment take the same program."""
    return program_type(spec.attach[0]) if spec.attach else ""


def node_lack(wanted: Demand, node: NodeAbilities) -> str | None:
    """The first requirement that the node fails; None: it fails none that is known."""
    fitting = wanted.on_platform(node.platform)
    if fitting is None:
        made_for = " and ".join(sorted(wanted.objects))
        return f"it is {node.platform or 'of no known platform'}, and the package is for {made_for}"
    return next(_lacks(fitting, node), None)


def interface_lack(wanted: Demand, node: NodeAbilities, place: str) -> str | None:
    """Why the program cannot be on this interface of a node that fails nothing."""
    attach = wanted.link.attach
    if attach is None or not wanted.is_about_drivers:
        return None
    known = node.interface_abilities.get(place)
    if known is None or known.xdp_features is None or _XDP_MODES[attach] in known.xdp_features:
        return None
    driver = f"driver {known.driver}" if known.driver else "driver"
    return f"{place}'s {driver} has no {_WHAT[attach]} and attach = {attach}"


def _lacks(wanted: Demand, node: NodeAbilities) -> Iterator[str]:
    if not is_in_range(node.kernel, wanted.kernels):
        yield f"its kernel is {node.kernel}, and the package needs {wanted.kernels}"
    if is_probe(wanted.hook):
        yield from _lacks_of_probes(wanted.hook, node)
    elif wanted.hook == "xdp":
        if node.features.get("xdp") is False:
            yield f"its kernel has no xdp, which the hook {wanted.hook} needs"
    else:
        yield from _lacks_of_tc(wanted, node)
    yield from _lacks_of_features(wanted, node)
    requires = wanted.requires
    if requires is None and wanted.reads_fragments:
        requires = ProgramRequirements(licence="GPL")
    if requires is not None:
        lack = kernel_lack(
            node.probed,
            wanted.hook,
            requires,
            fragments=wanted.reads_fragments,
            probe_type=wanted.probe_type,
        )
        if lack:
            yield f"kernel {node.kernel} {lack}"
    if wanted.excuses is not None:
        yield from _lacks_of_waivers(wanted.excuses, node)


def _lacks_of_probes(hook: ProbeHook, node: NodeAbilities) -> Iterator[str]:
    """A node that does not know the kind is of an older release, and would not read the record."""
    if not node.features.get(hook, False):
        note = node.feature_notes.get(hook, "")
        yield f"it has no {hook}, which the hook needs{': ' if note else ''}{note}"


def _lacks_of_features(wanted: Demand, node: NodeAbilities) -> Iterator[str]:
    if wanted.is_restricted and not node.features.get(REDACTION, False):
        yield "its executor is of a release that shows everybody what it runs"
    for name, platforms in sorted(wanted.companion_platforms.items()):
        if node.platform and node.platform not in platforms:
            made_for = " and ".join(platforms)
            yield f"it is {node.platform}, and the companion {name} is for {made_for}"
    for feature in wanted.features:
        if not node.features.get(feature, False):
            note = node.feature_notes.get(feature, "")
            yield f"it has no {feature}, which the package needs{': ' if note else ''}{note}"


def _lacks_of_waivers(excuses: Excuses, node: NodeAbilities) -> Iterator[str]:
    subject = excuses.subject
    for rule in uncovered(excuses.rules, subject, node.waivers, node=node.name, labels=node.labels):
        yield (
            f"{subject.package} {subject.version} breaks the licence rule {rule}, and no waiver "
            "for it is in force here"
        )


def _lacks_of_tc(wanted: Demand, node: NodeAbilities) -> Iterator[str]:
    attach = wanted.link.attach or "auto"
    has_no_tcx = node.features.get("tcx") is False
    has_no_filters = node.features.get("cls_bpf") is False
    if attach == "auto" and has_no_tcx and has_no_filters:
        yield f"its kernel has neither TCX nor cls_bpf, and the hook {wanted.hook} needs one"
    elif attach == "tcx" and has_no_tcx:
        yield "its kernel has no TCX and attach = tcx"
    elif attach == "cls_bpf" and has_no_filters:
        yield "its kernel has no cls_bpf and attach = cls_bpf"
    elif attach == "auto" and has_no_tcx:
        for option, value in (
            ("position", wanted.link.position),
            ("end_verdict", wanted.link.end_verdict),
        ):
            if value not in (None, "last", "unspec"):
                yield f"its kernel has no TCX and {option} = {value}"
