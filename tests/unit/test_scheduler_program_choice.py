# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a specification means for one package version."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.scheduler.program_choice import ProgramChoiceError, resolve_program
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.licences import (
    LicenceElection,
    LicenceFinding,
    LicenceVerdict,
    StatedLicence,
)
from shared.contracts.metrics import MetricSource
from shared.contracts.package_manifest import MapEntry
from tests.fleets import a_package, a_program, a_spec, rules


def _refused(spec: DeploymentSpec, package: PackageVersion) -> dict[str, str]:
    with pytest.raises(ProgramChoiceError) as caught:
        resolve_program(spec, package)
    return rules(caught.value.reasons)


def test_the_only_program_for_the_hook_needs_no_name() -> None:
    """One program for XDP and one for TC: the hook says which is meant."""
    package = a_package(programs=[a_program("a"), a_program("b", hooks=("tc-ingress",))])

    assert resolve_program(a_spec(), package).function == "a"
    assert resolve_program(a_spec(hook="tc-ingress"), package).function == "b"


def test_an_ambiguous_program_is_refused_with_the_names_to_choose_from() -> None:
    """Two programs for the hook: the specification must say which."""
    package = a_package(
        programs=[a_program("a"), a_program("b"), a_program("c", hooks=("tc-egress",))]
    )

    with pytest.raises(ProgramChoiceError) as caught:
        resolve_program(a_spec(), package)

    assert caught.value.reasons[0].path == "program"
    assert caught.value.reasons[0].allowed == ["a", "b"]


def test_a_program_that_the_package_does_not_have_is_refused_with_those_it_has() -> None:
    """A misspelt program is named, with what is there."""
    with pytest.raises(ProgramChoiceError) as caught:
        resolve_program(a_spec(program="limitre"), a_package())

    assert (caught.value.reasons[0].path, caught.value.reasons[0].allowed) == (
        "program",
        ["limiter"],
    )


def test_a_hook_that_no_program_is_for_is_refused() -> None:
    """With and without the program named, the hooks that are possible are said."""
    assert _refused(a_spec(hook="tc-egress"), a_package()) == {
        "hook": "no program of the package is for this hook"
    }
    assert _refused(a_spec(hook="tc-egress", program="limiter"), a_package()) == {
        "hook": "the program limiter is not for this hook"
    }


@pytest.mark.parametrize(
    ("hook", "specified", "packaged", "expected"),
    [
        ("xdp", ("tx", "pass"), ("drop",), ("pass", "tx")),
        ("xdp", (), ("drop", "pass"), ("drop", "pass")),
        ("xdp", (), (), ("pass",)),
        ("tc-ingress", (), ("pass",), ("unspec", "ok", "pipe")),
        ("tc-egress", ("pipe", "pipe"), (), ("pipe",)),
    ],
)
def test_proceed_on_is_the_specifications_then_the_packages_then_the_hooks(
    hook: str, specified: tuple[str, ...], packaged: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """Empty means: ask the next; the answer is never empty and written in one order."""
    program = a_program(hooks=("xdp", "tc-ingress", "tc-egress"), proceed_on=packaged)

    resolved = resolve_program(
        a_spec(hook=hook, proceed_on=specified), a_package(programs=[program])
    )

    assert resolved.proceed_on == expected


def test_an_unknown_verdict_is_refused_with_those_of_the_hook() -> None:
    """`ok` is a verdict of TC and not of XDP."""
    with pytest.raises(ProgramChoiceError) as caught:
        resolve_program(a_spec(proceed_on=("pass", "ok")), a_package())

    reason = caught.value.reasons[0]
    assert (reason.path, reason.got) == ("proceed_on[1]", "ok")
    assert reason.allowed == ["aborted", "drop", "pass", "tx", "redirect"]


def test_a_map_that_the_package_does_not_declare_is_refused_with_those_it_does() -> None:
    """Configuration never goes nowhere."""
    with pytest.raises(ProgramChoiceError) as caught:
        resolve_program(a_spec(config={"limit": {"80": 1}}), a_package())

    assert caught.value.reasons[0].path == "config.limit"
    assert caught.value.reasons[0].allowed == ["limits"]


@pytest.mark.parametrize(
    ("entries", "path", "allowed"),
    [
        ({"70000": 5}, "config.limits.70000", "1 to 65535"),
        ({"0": 5}, "config.limits.0", "1 to 65535"),
        ({"80": -1}, "config.limits.80", "at least 0"),
    ],
)
def test_a_key_or_value_out_of_the_declared_range_is_refused(
    entries: dict[str, Any], path: str, allowed: str
) -> None:
    """Port 70000 is refused before any node is asked, with the range that is allowed."""
    maps = {"limits": MapEntry(key="TCP port", key_minimum=1, key_maximum=65535, value_minimum=0)}

    with pytest.raises(ProgramChoiceError) as caught:
        resolve_program(a_spec(config={"limits": entries}), a_package(maps=maps))

    assert [(one.path, one.allowed) for one in caught.value.reasons] == [(path, allowed)]


@pytest.mark.parametrize("entries", [{"[1,2]": [1, 2]}, {"1": True}, {"x": 1}])
def test_what_is_not_one_integer_is_left_to_the_node(entries: dict[str, Any]) -> None:
    """Only BTF, which the node has, says what a structure may hold."""
    resolve_program(a_spec(config={"limits": entries}), a_package())


def test_configuration_above_the_limit_is_refused() -> None:
    """A record can only hold so much."""
    entries = {str(port): 10**15 for port in range(1, 1000)}

    assert list(_refused(a_spec(config={"limits": entries}), a_package())) == ["config"]


def test_metrics_are_the_packages_and_over_them_the_specifications() -> None:
    """A deployment may add a metric and may point one elsewhere."""
    spec = a_spec(
        metrics={
            "dropped": MetricSource(map="drops", key="1"),
            "limit": MetricSource(map="limits", key="80"),
        }
    )

    resolved = resolve_program(spec, a_package())

    assert resolved.metrics == {
        "dropped": MetricSource(map="drops", key="1"),
        "limit": MetricSource(map="limits", key="80"),
    }


def test_a_metric_of_a_map_that_is_not_there_is_refused() -> None:
    """A metric never silently reads nothing."""
    with pytest.raises(ProgramChoiceError) as caught:
        resolve_program(a_spec(metrics={"x": MetricSource(map="nothere")}), a_package())

    assert caught.value.reasons[0].path == "metrics.x.map"
    assert caught.value.reasons[0].allowed == ["drops", "limits"]


def test_what_happens_to_a_changed_map_is_said_by_package_and_overruled_by_deployment() -> None:
    """Refusing goes without saying; a map that the program does not have is refused."""
    maps = {"limits": MapEntry(on_layout_change="fresh"), "drops": MapEntry()}
    package = a_package(maps=maps)

    said = resolve_program(a_spec(), package).map_policies
    overruled = resolve_program(
        a_spec(map_policies={"limits": "refuse", "drops": "migrate:lost"}), package
    ).map_policies
    refused = _refused(a_spec(map_policies={"nothere": "fresh"}), package)

    assert said == {"limits": "fresh"}
    assert overruled == {"drops": "migrate:lost"}
    assert refused == {"map_policies.nothere": "the program's object has no such map"}


def test_all_problems_are_named_at_once() -> None:
    """One round is enough to correct a specification."""
    spec = a_spec(
        program="x",
        proceed_on=("nope",),
        config={"a": {}, "limits": {"70000": 1}},
        metrics={"m": MetricSource(map="b")},
    )

    assert set(_refused(spec, a_package())) == {
        "program",
        "proceed_on[0]",
        "config.a",
        "config.limits.70000",
        "metrics.m.map",
    }


def test_a_program_that_nodes_compile_needs_its_compiler_there() -> None:
    """The scheduler reads it out of the signed manifest."""
    package = a_package(programs=[a_program("a", compiler="bcc", object="a.c")])

    assert resolve_program(a_spec(), package).needs == ("bcc",)
    assert resolve_program(a_spec(), a_package()).needs == ()


def test_what_was_stated_of_an_objects_licence_goes_with_the_program() -> None:
    """Declared, elected for this object, by which policy, with which rules and waivers."""
    finding = LicenceFinding(rule="gpl-only-helpers", outcome="review", waiver="w-1")
    plain = a_package()
    path = plain.manifest.programs[0].object
    verdict = LicenceVerdict(
        policy="strict",
        policy_version="3",
        outcome="noted",
        findings=(finding, LicenceFinding(rule="source-tags", outcome="passed")),
        elections=(
            LicenceElection(file=path, elected="GPL-2.0-only", declared="A OR B", why="why"),
        ),
    )

    stated = resolve_program(a_spec(), msgspec.structs.replace(plain, licences=verdict)).licences
    unasked = resolve_program(a_spec(), plain).licences

    declared = plain.manifest.licence
    assert unasked == {path: StatedLicence(declared=declared)}
    assert stated == {
        path: StatedLicence(
            declared=declared,
            elected="GPL-2.0-only",
            policy="strict 3",
            findings=("gpl-only-helpers: review",),
            waivers=("w-1",),
        )
    }
