# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a specification says what its hook takes, and nothing that means nothing there.

Pure.

Rules:
 * A network hook takes interfaces, a probe takes what it is attached to: exactly one of both.
 * Every target is of the hook's kind, and no two are the same.
 * A probe is in no chain: places, verdicts, network namespaces and most link options are refused,
   not ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec

from services.scheduler.link_options import wish_problems
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.errors import ErrorCode
from shared.contracts.probes import (
    IteratorTarget,
    ProbeTarget,
    UprobeTarget,
    UretprobeTarget,
    kind_of,
)
from shared.errors import Reason, RefusedError
from shared.identifiers import is_probe
from shared.probe_targets import describe_target


class UnfitTermsError(RefusedError):
    """A deployment says what its hook cannot keep, or leaves out what it needs."""

    code: ClassVar[ErrorCode] = "invalid_request"


def refuse_unfit_terms(spec: DeploymentSpec) -> None:
    """Nothing, if the deployment fits its hook.

    Raises:
        UnfitTermsError: With everything that does not.
    """
    problems = [*_terms(spec), *wish_problems(spec)]
    if problems:
        first = problems[0]
        raise UnfitTermsError(f"{spec.name}: {first.path} {first.rule}", problems)


def _terms(spec: DeploymentSpec) -> Iterator[Reason]:
    if is_probe(spec.hook):
        yield from _of_a_probe(spec)
        yield from _targets(spec)
        return
    if not spec.interfaces:
        rule = f"must name at least one interface: {spec.hook} is a network hook"
        yield Reason(path="interfaces", rule=rule)
    if spec.attach:
        rule = f"is for probes, and {spec.hook} is a network hook: name interfaces"
        yield Reason(path="attach", rule=rule, got=[describe_target(one) for one in spec.attach])


def _of_a_probe(spec: DeploymentSpec) -> Iterator[Reason]:
    """What it says beside its targets that a probe has no use for."""
    if not spec.attach:
        rule = f"must say what the {spec.hook} is attached to"
        yield Reason(path="attach", rule=rule, allowed="at least one target")
    if spec.interfaces:
        rule = f"is for network hooks, and {spec.hook} is on no interface: use attach"
        yield Reason(path="interfaces", rule=rule, got=msgspec.to_builtins(spec.interfaces))
    if spec.network_namespaces != ("",):
        rule = f"has no meaning on {spec.hook}, which sees the whole node"
        yield Reason(path="network_namespaces", rule=rule, got=list(spec.network_namespaces))
    for name in ("order", "before", "after", "proceed_on"):
        said = getattr(spec, name)
        if said not in (None, ()):
            rule = f"has no meaning on {spec.hook}, which is in no chain"
            yield Reason(path=name, rule=rule, got=said)


def _targets(spec: DeploymentSpec) -> Iterator[Reason]:
    first: dict[ProbeTarget, int] = {}
    for index, target in enumerate(spec.attach):
        path = f"attach[{index}]"
        kind = kind_of(target)
        if kind != spec.hook:
            rule = "is of another kind than the hook"
            yield Reason(path=f"{path}.kind", rule=rule, got=kind, allowed=spec.hook)
        if (earlier := first.setdefault(target, index)) != index:
            rule = f"is the same as attach[{earlier}]"
            yield Reason(path=path, rule=rule, got=describe_target(target))
        if isinstance(target, UprobeTarget | UretprobeTarget):
            if not target.symbol and not target.offset:
                rule = "must be there, or an offset from the beginning of the file"
                yield Reason(path=f"{path}.symbol", rule=rule, got="")
        elif isinstance(target, IteratorTarget):
            yield from _iterator(target, path)


def _iterator(target: IteratorTarget, path: str) -> Iterator[Reason]:
    if target.over == "bpf_map_elem" and not target.map:
        rule = "must name one of the program's maps, whose entries it walks through"
        yield Reason(path=f"{path}.map", rule=rule, got="")
    elif target.over != "bpf_map_elem" and target.map:
        rule = "is for iterators over bpf_map_elem"
        yield Reason(path=f"{path}.map", rule=rule, got=target.map)
