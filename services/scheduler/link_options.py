# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What deployments wish of one hook point -> the options that it gets, or who contradicts whom.

Rules:
 * What a deployment does not say follows those that do; what nobody says is the default.
 * Two deployments that say different things cannot be in one chain; both are named.
 * An option that does not belong to the hook is refused, not ignored.
 * Two options that exclude each other are refused, whether one deployment says both or two do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from shared.contracts.deployments import DeploymentSpec
from shared.contracts.link_options import DEFAULT_POSITION, LinkOptions, LinkWishes
from shared.errors import Reason
from shared.identifiers import is_probe

_OPTIONS: Final = tuple(field.name for field in msgspec.structs.fields(LinkWishes))
_XDP_ONLY: Final = ("frags", "take_over")
_TC_ONLY: Final = ("end_verdict", "position")
_OF_PROBES: Final = ("keep_seconds", "drift")
_ATTACH: Final = {True: ("auto", "native", "generic", "offload"), False: ("auto", "tcx", "cls_bpf")}


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What two deployments of one chain want, and it cannot have both."""

    option: str
    holder: str
    held: Any
    other: str
    wanted: Any
    other_option: str = ""
    """If it is not the same option that they want differently."""

    def told(self, named: Callable[[str], str]) -> str:
        """As in `link.attach, which a wants native and b generic`.

        Args:
            named: What a deployment is called, if it may be named.
        """
        held, wanted = _spelled(self.held), _spelled(self.wanted)
        also = f"link.{self.other_option} " if self.other_option else ""
        holder, other = named(self.holder), named(self.other)
        return f"link.{self.option}, which {holder} wants {held} and {other} {also}{wanted}"


class SharedOptions:
    """The options of one hook point as one deployment after the other joins."""

    def __init__(self) -> None:
        """Nobody wishes anything yet."""
        self._said: dict[str, tuple[str, Any]] = {}

    def join(self, deployment: str, wishes: LinkWishes) -> tuple[Contradiction, ...]:
        """The wishes are part of the options; or they contradict those before and are not."""
        wanted = _said(wishes)
        found = (
            *(
                Contradiction(name, *self._said[name], deployment, value)
                for name, value in wanted.items()
                if name in self._said and self._said[name][1] != value
            ),
            *self._exclusions(deployment, wanted),
        )
        if not found:
            for name, value in wanted.items():
                self._said.setdefault(name, (deployment, value))
        return found

    def settled(self) -> LinkOptions:
        """What the hook point gets."""
        return LinkOptions(**{name: value for name, (_, value) in self._said.items()})

    def _exclusions(self, deployment: str, wanted: Mapping[str, Any]) -> Iterator[Contradiction]:
        together = {**wanted, **{name: value for name, (_, value) in self._said.items()}}
        for excluded, _, by in _exclusions(together):
            for held, new in ((excluded, by), (by, excluded)):
                if held in self._said and new not in self._said:
                    holder, value = self._said[held]
                    yield Contradiction(held, holder, value, deployment, wanted[new], new)


def wish_problems(spec: DeploymentSpec) -> Iterator[Reason]:
    """Every link option of the deployment that does not fit its hook, or another one."""
    if is_probe(spec.hook):
        for name, value in _said(spec.link).items():
            if name not in _OF_PROBES:
                rule = f"has no meaning on {spec.hook}"
                yield Reason(path=f"link.{name}", rule=rule, got=value, allowed=list(_OF_PROBES))
        return
    is_xdp = spec.hook == "xdp"
    said = _said(spec.link)
    for name in _TC_ONLY if is_xdp else _XDP_ONLY:
        if name in said:
            rule = f"has no meaning on {spec.hook}"
            yield Reason(path=f"link.{name}", rule=rule, got=said[name])
    attach = spec.link.attach
    if attach is not None and attach not in _ATTACH[is_xdp]:
        rule = f"is no way of attaching to {spec.hook}"
        yield Reason(path="link.attach", rule=rule, got=attach, allowed=list(_ATTACH[is_xdp]))
    period = spec.link.time_sample_period
    if period and period & (period - 1):
        rule = "must be 0 or a power of two"
        yield Reason(path="link.time_sample_period", rule=rule, got=period)
    for name, rule, _ in _exclusions(said):
        yield Reason(path=f"link.{name}", rule=rule, got=said[name])


def _exclusions(said: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """An option that has no effect as it is said, why, and the option that takes it away."""
    if said.get("attach") == "cls_bpf":
        if said.get("position", DEFAULT_POSITION) != DEFAULT_POSITION:
            yield "position", "needs TCX; a cls_bpf filter has one fixed priority", "attach"
        if "end_verdict" in said:
            yield "end_verdict", "needs TCX; a cls_bpf chain returns verdicts as they are", "attach"
    if said.get("time_sample_period") and said.get("counters") is False:
        yield "time_sample_period", "needs counters", "counters"


def _said(wishes: LinkWishes) -> dict[str, Any]:
    values = {name: getattr(wishes, name) for name in _OPTIONS}
    return {name: value for name, value in values.items() if value is not None}


def _spelled(value: object) -> str:
    """As TOML spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
