# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that would meet in a chain and do not go together, and how that is told.

Pure.

Rules:
 * A program that goes on only after verdicts that end a packet's way lets nobody behind it see a
   packet that passes.  Who shall run behind it all the same is named: by its own `after`, or by the
   other's `before`.
 * Packages whose objects declare one map to be one for all, and lay it out differently, are
   refused; libbpf would load only the first of them.  Where the layouts agree, the plan says that
   in chains each has a map of its own.
 * Code under the GPL alone and code that is not GPL-compatible are kernel programs of their own in
   any chain.  The plan says where they meet; a rule of the rollout policy may refuse it.
 * What is together already stays so: only what a command brings together is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Final, Literal

from services.scheduler.audiences import Sight
from services.scheduler.desired_state import Fleet
from services.scheduler.place_conflicts import ChainConflictError
from services.scheduler.revision_facts import RevisionFacts, facts_of
from services.scheduler.rollout.policy import Others, rules_of
from shared.bytecode.licences import is_gpl_compatible
from shared.contracts.deployments import DeploymentSpec, ResolvedProgram
from shared.contracts.desired import DesiredChain, DesiredNode
from shared.contracts.node import terminal_verdicts
from shared.contracts.package_facts import MapFacts
from shared.errors import Reason
from shared.identifiers import Hook, render_hook_point
from shared.licensing.chains import ChainMember, is_gpl_alone
from shared.licensing.expressions import Arm, ExpressionError, parse_expression

SHARED_LAYOUT: Final = ("type", "key_size_bytes", "value_size_bytes", "max_entries")
"""What libbpf compares before it gives an object the map that lies there (libbpf.c,
map_is_reuse_compat)."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Two deployments in one chain, the first before the second."""

    kind: Literal["proceed_on", "map", "licence"]
    first: str
    second: str
    about: str = ""
    """Of `proceed_on` the verdicts, of a map its name, of licences whose is not GPL-compatible."""
    differs: tuple[str, ...] = ()
    """Of a map: what its layouts do not agree on."""
    rule: str = ""
    """Of licences: the rule of the rollout policy that refuses it."""
    where: str = ""
    """The first place, as in `eth0/xdp on n1`."""
    places: int = 1

    @property
    def between(self) -> tuple[str, str]:
        """The keys of the two."""
        return self.first, self.second

    @property
    def is_refused(self) -> bool:
        """Whether it is more than worth a look."""
        return self.kind == "proceed_on" or bool(self.differs or self.rule)

    def told(self, sight: Sight) -> str:
        """One sentence that names both, as far as `sight` goes."""
        first, second = sight.named(self.first), sight.named(self.second)
        more = f" and {self.places - 1} more places" if self.places > 1 else ""
        where = f"at {self.where}{more}"
        if not all(map(sight.sees_deployment, self.between)):
            return f"{first} and {second} do not go together {where}"
        if self.kind == "proceed_on":
            return (
                f"{first} goes on only after {self.about}, so {second} behind it {where} would see"
                " no packet that passes"
            )
        if self.kind == "map":
            both = f"{first} and {second} {where} both declare the map {self.about} to be one for"
            if self.differs:
                return f"{both} all, and differ in its {', '.join(self.differs)}"
            return f"{both} all; in a chain each has its own, and none sees what the other writes"
        closed, opened = (first, second) if self.about == self.first else (second, first)
        met = f"{opened} is under the GPL alone and {closed} is not GPL-compatible; {where} they"
        if self.rule:
            return f"{met} would be one chain, which rule {self.rule} of the rollout policy refuses"
        return f"{met} are one chain, as kernel programs of their own"


def misfits(
    fleet: Fleet, ahead: Fleet, changed: Mapping[str, DesiredNode], keys: Collection[str]
) -> tuple[Misfit, ...]:
    """What does not go together with these deployments and is not together yet.

    Args:
        fleet: As it is.
        ahead: As it is once the commands are carried out.
        changed: What nodes are told then, of those that are told anything else.
        keys: The deployments that the commands change.
    """
    found: dict[Misfit, Misfit] = {}
    judged: dict[int, tuple[Misfit, ...]] = {}
    for name in sorted(changed):
        for chain in changed[name].chains:
            # Of ten thousand nodes most have the same chain, which is one object.
            known = judged.get(id(chain.programs))
            if known is None:
                known = judged[id(chain.programs)] = tuple(_of_chain(chain, ahead, keys))
            before = fleet.chain_at(name, chain.place, chain.hook) if known else None
            present = set(_of_chain(before, fleet, keys)) if before is not None else set()
            for one in known:
                if one in present:
                    continue
                where = f"{render_hook_point(chain.place, chain.hook)} on {name}"
                told = found.get(one)
                found[one] = (
                    replace(one, where=where)
                    if told is None
                    else replace(told, places=told.places + 1)
                )
    return tuple(found.values())


def refuse_misfits(spec: DeploymentSpec, found: Iterable[Misfit], sight: Sight) -> None:
    """Nothing, if `spec` goes together with whom it meets.

    Raises:
        ChainConflictError: Naming both sides of each pair that does not, as far as `sight` goes.
    """
    mine = [one for one in found if one.is_refused and spec.key in one.between]
    if not mine:
        return
    others = (one.second if one.first == spec.key else one.first for one in mine)
    named = ", ".join(sight.listed(others))
    raise ChainConflictError(
        f"{spec.key} does not go into one chain with {named}",
        [_reason(spec.key, one, sight) for one in mine],
    )


def misfit_warnings(found: Iterable[Misfit], sight: Sight) -> Iterator[str]:
    """What is allowed and yet worth a look, of deployments that are seen."""
    for one in found:
        if not one.is_refused and all(map(sight.sees_deployment, one.between)):
            yield one.told(sight)


def _reason(key: str, one: Misfit, sight: Sight) -> Reason:
    rule = one.told(sight)
    if one.kind != "proceed_on":
        return Reason(path="package", rule=rule)
    allowed = None
    if all(map(sight.sees_deployment, one.between)):
        allowed = f'after = ["deployment:{one.first}"] in {one.second}, if that is meant'
    return Reason(path="proceed_on" if key == one.first else "after", rule=rule, allowed=allowed)


def _of_chain(chain: DesiredChain, fleet: Fleet, keys: Collection[str]) -> Iterator[Misfit]:
    names = [program.deployment for program in chain.programs]
    if len(names) < 2 or not any(key in names for key in keys):  # noqa: PLR2004 because two meet
        return
    members = [
        facts_of(fleet.deployments[name].revisions[-1])
        for name in names
        if name in fleet.deployments
    ]
    for first, second in combinations(members, 2):
        if first.key in keys or second.key in keys:
            yield from _of_order(first, second, chain.hook)
            yield from _of_maps(first, second)
            yield from _of_licences(first, second, fleet)


def _of_order(first: RevisionFacts, second: RevisionFacts, hook: Hook) -> Iterator[Misfit]:
    resolved = first.revision.resolved
    verdicts = resolved.proceed_on if resolved is not None else ()
    is_closed = bool(verdicts) and terminal_verdicts(hook).issuperset(verdicts)
    is_meant = any(map(first.entrant.is_named, second.entrant.after)) or any(
        map(second.entrant.is_named, first.entrant.before)
    )
    if is_closed and not is_meant:
        yield Misfit("proceed_on", first.key, second.key, about=" and ".join(verdicts))


def _of_maps(first: RevisionFacts, second: RevisionFacts) -> Iterator[Misfit]:
    """Versions of one package may lay out a map differently: an upgrade is one after the other."""
    if first.revision.spec.package == second.revision.spec.package:
        return
    own, others = _shared_maps(first), _shared_maps(second)
    for name in sorted(own.keys() & others.keys()):
        one, other = own[name], others[name]
        differs = tuple(
            field for field in SHARED_LAYOUT if getattr(one, field) != getattr(other, field)
        )
        yield Misfit("map", first.key, second.key, about=name, differs=differs)


def _of_licences(first: RevisionFacts, second: RevisionFacts, fleet: Fleet) -> Iterator[Misfit]:
    opened, closed = sorted(
        (_licensed(one) for one in (first, second)),
        key=lambda one: is_gpl_compatible(one.licence),
        reverse=True,
    )
    is_mixed = is_gpl_compatible(opened.licence) and not is_gpl_compatible(closed.licence)
    if not is_mixed or not is_gpl_alone(opened):
        return
    others = Others(nodes=fleet.nodes)
    refusing = (
        rule.name
        for key in (first.key, second.key)
        for rule in rules_of(fleet.deployments[key], fleet.policy, others)
        if rule.mixed_licences == "refuse"
    )
    yield Misfit("licence", first.key, second.key, about=closed.name, rule=next(refusing, ""))


def _shared_maps(facts: RevisionFacts) -> Mapping[str, MapFacts]:
    resolved = facts.revision.resolved
    return {one.name: one for one in resolved.shared_maps} if resolved is not None else {}


def _licensed(facts: RevisionFacts) -> ChainMember:
    """What it tells the kernel; where that is not known, it is taken for compatible."""
    resolved = facts.revision.resolved
    strings = list(_strings(resolved)) if resolved is not None else []
    closed = [one for one in strings if not is_gpl_compatible(one)]
    declared = [one.declared for one in resolved.licences.values()] if resolved is not None else []
    return ChainMember(
        facts.key, next(iter((*closed, *strings)), "GPL"), _arms(declared[0] if declared else "")
    )


def _strings(resolved: ResolvedProgram) -> Iterator[str]:
    for requires in (resolved.requires, *(one.requires for one in resolved.objects.values())):
        if requires is not None and requires.licence:
            yield requires.licence


@lru_cache(maxsize=1024)
def _arms(declared: str) -> frozenset[Arm]:
    try:
        return parse_expression(declared, path="licence")
    except ExpressionError:
        return frozenset()
