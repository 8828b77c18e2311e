# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a specification means for one package version: which function, which verdicts, which maps.

Every problem is found and named at once; nothing in a specification is ignored.

Rules:
 * A program may be left unnamed only if exactly one program of the package is for the hook.
 * `proceed_on`: the specification's, else those of the package that the hook knows, else the
   hook's default.
 * Nodes get the object of their platform; where a program runs in a chain is the specification's to
   say, else the package's.
 * Only maps and variables that the manifest declares may be configured, within the limits it
   declares; where nothing is said, the package's defaults hold.
 * What happens to maps whose layout changes is what the specification says, else the package.
 * Companions get what the specification says of their arguments, else the package's defaults.
 * What a probe is attached to fits what its program was made for.
 * The package's metrics are read unless the specification gives the same name another source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from services.scheduler.rollout.health_terms import health_problems
from shared.bytecode.probe_sections import misfit
from shared.canonical import canonical_bytes
from shared.companion_arguments import companion_problems, whole_companions
from shared.configuration.deployed import (
    Variables,
    config_problems,
    whole_config,
    whole_variables,
)
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentSpec, Grace, ResolvedObject, ResolvedProgram
from shared.contracts.desired import MapConfig
from shared.contracts.errors import ErrorCode
from shared.contracts.licences import StatedLicence
from shared.contracts.metrics import MetricSource
from shared.contracts.node import DEFAULT_PROCEED_ON, terminal_verdicts, verdicts_of
from shared.contracts.node_companions import DesiredCompanion
from shared.contracts.package_facts import MapFacts, ProgramRequirements
from shared.contracts.package_manifest import MapEntry, MapPolicy, PackageManifest, ProgramEntry
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook
from shared.licensing.waivers import waived_rules
from shared.probe_targets import describe_target

_REFUSE: Final = "refuse"
MAX_CONFIG_BYTES: Final = 16 * 1024
"""Maps, variables and arguments of companions of one deployment with the package's defaults, in
canonical JSON."""


class ProgramChoiceError(RefusedError):
    """The specification does not fit the package; a reason for each thing that does not."""

    code: ClassVar[ErrorCode] = "invalid_request"


def resolve_program(spec: DeploymentSpec, package: PackageVersion) -> ResolvedProgram:
    """The program that the specification names, with verdicts and metrics decided.

    Raises:
        ProgramChoiceError: With every reason at once.
    """
    manifest = package.manifest
    program, problems = _choose_program(spec, manifest)
    problems += _verdict_problems(spec.proceed_on, spec.hook)
    problems += _target_problems(spec, program, package)
    # All of the package's if the program is not known.
    objects = [one for one in package.elf if program is None or one.path in program.all_objects]
    known_maps = {declared.name for one in objects for declared in one.maps}
    config = whole_config(spec.config, manifest.maps, known_maps)
    problems += _config_problems(spec, manifest)
    problems += _untold(config_problems(config, manifest, objects), problems)
    variables, found = whole_variables(spec.variables, manifest, objects)
    problems += found
    companions = whole_companions(spec.companions, manifest.companions)
    problems += companion_problems(spec.companions, manifest.companions)
    problems += _size_problems(config, variables, companions)
    metrics = {
        **{
            name: msgspec.convert(one, MetricSource, from_attributes=True)
            for name, one in manifest.metrics.items()
        },
        **spec.metrics,
    }
    problems += _metric_problems(spec.metrics, known_maps)
    problems += _policy_problems(spec.map_policies, known_maps)
    problems += health_problems(spec, metrics)
    if problems or program is None:
        raise ProgramChoiceError(
            f"{spec.name}: the specification does not fit {manifest.name} {manifest.version}",
            problems,
        )
    return ResolvedProgram(
        program=program.name,
        function=program.function,
        object=program.object,
        objects={
            key: ResolvedObject(object=path, requires=_requirements(program, path, package))
            for key, path in program.objects.items()
        },
        order=program.order,
        proceed_on=_proceed_on(spec, program),
        config=config,
        constants=variables.constants,
        variables=variables.live,
        map_policies=_map_policies(spec, manifest, known_maps),
        metrics={name: source for name, source in metrics.items() if source.map in known_maps},
        companions=companions,
        companion_platforms={
            name: tuple(sorted(one.executables)) for name, one in manifest.companions.items()
        },
        needs=(*((program.compiler,) if program.compiler else ()), *manifest.node_features),
        requires=_requirements(program, program.object, package),
        kernels=manifest.needs.kernel,
        grace=_grace(package),
        signed=package.signed,
        licences={path: _stated(package, path) for path in program.all_objects},
        shared_maps=_shared_maps(program, package),
        instructions=_instructions(program, package),
    )


def verdict_warnings(program: ResolvedProgram, hook: Hook) -> tuple[str, ...]:
    """Verdicts that end a packet's way, after which the chain goes on all the same."""
    terminal = terminal_verdicts(hook)
    return tuple(
        f"proceed_on has '{verdict}': the chain goes on after it, so a later program's verdict"
        f" replaces it and the packet is not treated as '{verdict}'"
        for verdict in program.proceed_on
        if verdict in terminal
    )


def _stated(package: PackageVersion, path: str) -> StatedLicence:
    """What the catalog said of an object's licence when the version was published."""
    manifest, verdict = package.manifest, package.licences
    declared = manifest.licences.get("kernel", manifest.licence)
    if verdict is None:
        return StatedLicence(declared=declared)
    told = [one for one in verdict.findings if one.outcome != "passed"]
    return StatedLicence(
        declared=declared,
        elected=next((one.elected for one in verdict.elections if one.file == path), ""),
        policy=f"{verdict.policy} {verdict.policy_version}".strip(),
        findings=tuple(sorted({f"{one.rule}: {one.outcome}" for one in told})),
        waivers=tuple(sorted({one.waiver for one in told if one.waiver})),
    )


def _shared_maps(program: ProgramEntry, package: PackageVersion) -> tuple[MapFacts, ...]:
    """Of the objects that nodes may get, without what configuration needs to know of them."""
    found = {
        one.name: msgspec.structs.replace(one, key=None, value=None, inner=None)
        for facts in package.elf
        if facts.path in program.all_objects
        for one in facts.maps
        if one.is_pinned_by_name
    }
    return tuple(found[name] for name in sorted(found))


def _instructions(program: ProgramEntry, package: PackageVersion) -> dict[str, int]:
    return {
        facts.path: one.instructions
        for facts in package.elf
        for one in facts.programs
        if facts.path in program.all_objects and one.function == program.function
    }


def _grace(package: PackageVersion) -> Grace | None:
    """What the version was excused from when it was published; None: from nothing."""
    rules = waived_rules(package.licences)
    if not rules:
        return None
    return Grace(version=package.version, rules=rules, space=package.space)


def _choose_program(
    spec: DeploymentSpec, manifest: PackageManifest
) -> tuple[ProgramEntry | None, list[Reason]]:
    names = sorted(program.name for program in manifest.programs)
    if spec.program:
        for program in manifest.programs:
            if program.name == spec.program:
                return program, _hook_problems(spec.hook, program)
        rule = "the package has no such program"
        return None, [Reason(path="program", rule=rule, got=spec.program, allowed=names)]
    fitting = [program for program in manifest.programs if spec.hook in program.hooks]
    if len(fitting) == 1:
        return fitting[0], []
    if fitting:
        rule = f"must be named: the package has {len(fitting)} programs for {spec.hook}"
        allowed = sorted(program.name for program in fitting)
        return None, [Reason(path="program", rule=rule, allowed=allowed)]
    hooks = sorted({hook for program in manifest.programs for hook in program.hooks})
    rule = "no program of the package is for this hook"
    return None, [Reason(path="hook", rule=rule, got=spec.hook, allowed=hooks)]


def _hook_problems(hook: Hook, program: ProgramEntry) -> list[Reason]:
    if hook in program.hooks:
        return []
    rule = f"the program {program.name} is not for this hook"
    return [Reason(path="hook", rule=rule, got=hook, allowed=sorted(program.hooks))]


def _verdict_problems(verdicts: Iterable[str], hook: Hook) -> list[Reason]:
    known = verdicts_of(hook)
    return [
        Reason(
            path=f"proceed_on[{index}]",
            rule=f"is not a verdict of the hook {hook}",
            got=verdict,
            allowed=list(known),
        )
        for index, verdict in enumerate(verdicts)
        if verdict not in known
    ]


def _target_problems(
    spec: DeploymentSpec, program: ProgramEntry | None, package: PackageVersion
) -> list[Reason]:
    """Targets that the program was not made for: some are part of how it is loaded."""
    found = set() if program is None else _sections(program, package)
    return [
        Reason(
            path=f"attach[{index}]",
            rule="is not what the program was made for",
            got=describe_target(target),
            allowed=made_for,
        )
        for index, target in enumerate(spec.attach)
        for made_for in sorted({misfit(section, target) for section in found})
        if made_for
    ]


def _sections(program: ProgramEntry, package: PackageVersion) -> set[str]:
    return {
        one.section
        for facts in package.elf
        if facts.path in program.all_objects
        for one in facts.programs
        if one.function == program.function
    }


def _proceed_on(spec: DeploymentSpec, program: ProgramEntry) -> tuple[str, ...]:
    known = verdicts_of(spec.hook)
    packages_own = [verdict for verdict in program.proceed_on if verdict in known]
    wanted = spec.proceed_on or packages_own or DEFAULT_PROCEED_ON[spec.hook]
    return tuple(verdict for verdict in known if verdict in wanted)


def _requirements(
    program: ProgramEntry, path: str, package: PackageVersion
) -> ProgramRequirements | None:
    """What the bytes of an object say; None if they were not asked, or are made on the nodes."""
    for facts in package.elf:
        for one in facts.programs if facts.path == path else ():
            if one.function == program.function:
                return one.requires
    return None


def _map_policies(
    spec: DeploymentSpec, manifest: PackageManifest, known_maps: set[str]
) -> dict[str, MapPolicy]:
    """What the specification says of a map, else the package; refusing goes without saying."""
    said = {
        **{name: entry.on_layout_change for name, entry in manifest.maps.items()},
        **spec.map_policies,
    }
    return {
        name: policy
        for name, policy in sorted(said.items())
        if name in known_maps and policy != _REFUSE
    }


def _policy_problems(policies: Iterable[str], known_maps: set[str]) -> list[Reason]:
    return [
        Reason(
            path=f"map_policies.{name}",
            rule="the program's object has no such map",
            got=name,
            allowed=sorted(known_maps),
        )
        for name in sorted(policies)
        if name not in known_maps
    ]


def _metric_problems(metrics: Mapping[str, MetricSource], known_maps: set[str]) -> list[Reason]:
    return [
        Reason(
            path=f"metrics.{name}.map",
            rule="the program's object has no such map",
            got=source.map,
            allowed=sorted(known_maps),
        )
        for name, source in sorted(metrics.items())
        if source.map not in known_maps
    ]


def _config_problems(spec: DeploymentSpec, manifest: PackageManifest) -> list[Reason]:
    problems: list[Reason] = []
    for name, entries in sorted(spec.config.items()):
        declared = manifest.maps.get(name)
        if declared is None:
            rule = "the package declares no such map for configuration"
            problems.append(
                Reason(path=f"config.{name}", rule=rule, got=name, allowed=sorted(manifest.maps))
            )
        else:
            problems += _entry_problems(name, entries, declared)
    return problems


def _untold(found: Iterable[Reason], told: Iterable[Reason]) -> list[Reason]:
    """Those of places of which nothing is said yet."""
    paths = {reason.path for reason in told}
    return [reason for reason in found if reason.path not in paths]


def _size_problems(
    config: Mapping[str, MapConfig],
    variables: Variables,
    companions: Mapping[str, DesiredCompanion],
) -> list[Reason]:
    size_bytes = len(canonical_bytes([config, variables.constants, variables.live, companions]))
    if size_bytes <= MAX_CONFIG_BYTES:
        return []
    rule = f"configuration, defaults included, is limited to {MAX_CONFIG_BYTES} bytes of JSON"
    return [Reason(path="config", rule=rule, got=size_bytes, allowed=MAX_CONFIG_BYTES)]


def _entry_problems(name: str, entries: MapConfig, declared: MapEntry) -> list[Reason]:
    problems: list[Reason] = []
    for key, value in sorted(entries.items()):
        path = f"config.{name}.{key}"
        keys = _Limits("key", declared.key, declared.key_minimum, declared.key_maximum)
        values = _Limits("value", declared.value, declared.value_minimum, declared.value_maximum)
        problems += keys.problems(path, _integer(key))
        problems += values.problems(path, value)
    return problems


def _integer(text: str) -> int | None:
    """The integer that a key's text form stands for; None if it stands for something else."""
    try:
        return int(text, 0)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Limits:
    """What the manifest says that keys or values of a map may be."""

    what: str
    meaning: str
    minimum: int | None
    maximum: int | None

    def problems(self, path: str, number: Any) -> list[Reason]:
        """The broken limit, if `number` is one integer; the node judges all else by BTF."""
        if isinstance(number, bool) or not isinstance(number, int):
            return []
        is_low = self.minimum is not None and number < self.minimum
        is_high = self.maximum is not None and number > self.maximum
        if not is_low and not is_high:
            return []
        described = f"the {self.what} ({self.meaning})" if self.meaning else f"the {self.what}"
        rule = f"{described} is out of range"
        return [Reason(path=path, rule=rule, got=number, allowed=self._text())]

    def _text(self) -> str:
        if self.minimum is None:
            return f"at most {self.maximum}"
        if self.maximum is None:
            return f"at least {self.minimum}"
        return f"{self.minimum} to {self.maximum}"
