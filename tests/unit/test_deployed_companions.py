# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Companions in a deployment: their arguments, where they may be, when the deployment runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.node_executor.packages import program_problems
from services.scheduler.acceptance import draft_application
from services.scheduler.completion import endings
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.program_choice import ProgramChoiceError, resolve_program
from services.scheduler.status import view_places
from shared.companion_arguments import (
    argument_problems,
    rendered_arguments,
    whole_arguments,
)
from shared.configuration.json_schema import configuration_schema
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.node import ObservedNode
from shared.contracts.node_companions import (
    ArgumentValue,
    CompanionState,
    CompanionWish,
    DesiredCompanion,
    ObservedCompanion,
)
from shared.contracts.package_manifest import (
    COMPANIONS,
    CompanionArgument,
    CompanionEntry,
    PlatformKey,
)
from shared.errors import RefusedError
from shared.validation import convert_document
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_package,
    a_spec,
    observing,
    rules,
    told,
)
from tests.support.json_schemas import accepts

HERE: PlatformKey = "linux-x86_64"
ENTRY = CompanionEntry(
    executables={HERE: "bin/exporter"},
    arguments={
        "port": CompanionArgument(type="integer", default=9100, minimum=1024, maximum=65535),
        "listen": CompanionArgument(required=True),
        "verbose": CompanionArgument(type="boolean"),
    },
)


def _package(version: str = "1.0.0", **entries: CompanionEntry) -> PackageVersion:
    package = a_package(version=version)
    manifest = msgspec.structs.replace(package.manifest, companions=entries or {"exporter": ENTRY})
    return msgspec.structs.replace(package, manifest=manifest)


def _spec(**arguments: ArgumentValue) -> DeploymentSpec:
    wish = CompanionWish(arguments={"listen": "lo", **arguments})
    return a_spec(companions={"exporter": wish})


def _fleet(**features: bool) -> Fleet:
    node = a_node()
    return a_fleet(
        replace(node, platform=HERE, features={**node.features, COMPANIONS: True, **features})
    )


def _applied(fleet: Fleet, spec: DeploymentSpec, *, at: int = 1) -> Fleet:
    draft = draft_application(fleet, spec, _package(), a_command(at))
    return told(fleet.with_deployment(draft.record))


def _observing(
    fleet: Fleet, state: CompanionState, *, revision: int = 1, reason: str = ""
) -> dict[str, ObservedNode]:
    node = observing(fleet.desired["n1"])
    companion = ObservedCompanion(
        deployment="edge", revision=revision, companion="exporter", state=state, reason=reason
    )
    chain = msgspec.structs.replace(node.chains[0], companions=(companion,))
    return {"n1": msgspec.structs.replace(node, chains=(chain,))}


def test_a_companion_gets_what_is_given_and_the_packages_defaults() -> None:
    """What has no default and is not given is left out."""
    resolved = resolve_program(_spec(), _package())

    assert resolved.companions == {
        "exporter": DesiredCompanion(arguments={"listen": "lo", "port": 9100})
    }
    assert COMPANIONS in resolved.needs


def test_every_argument_that_does_not_fit_is_refused_with_its_path() -> None:
    """Unknown companion, unknown argument, wrong type, out of range, missing: all at once."""
    spec = a_spec(
        companions={
            "exporter": CompanionWish(arguments={"port": 80, "verbose": "yes", "colour": "red"}),
            "importer": CompanionWish(),
        }
    )

    with pytest.raises(ProgramChoiceError) as caught:
        resolve_program(spec, _package())

    assert rules(caught.value.reasons) == {
        "companions.importer": "the package has no such companion",
        "companions.exporter.arguments.colour": "the companion declares no such argument",
        "companions.exporter.arguments.port": "is outside its range",
        "companions.exporter.arguments.verbose": "has another type",
        "companions.exporter.arguments.listen": "is required",
    }


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"arguments": {"Port": 1}}, "companions.exporter.arguments"),
        ({"arguments": {"port": 1.5}}, "companions.exporter.arguments"),
        ({"arguments": {"listen": "a\0b"}}, "companions.exporter.arguments"),
        ({"argument": {}}, "companions.exporter"),
    ],
)
def test_a_file_that_says_what_no_companion_takes_is_refused(value: Any, path: str) -> None:
    """Names, types and characters are checked before any package is asked for."""
    document = {
        "name": "edge",
        "package": "rate-limit",
        "hook": "xdp",
        "interfaces": ["eth0"],
        "companions": {"exporter": value},
    }

    with pytest.raises(RefusedError) as caught:
        convert_document(document, DeploymentSpec, what="deployment")

    assert any(reason.path.startswith(path) for reason in caught.value.reasons)


def test_a_node_without_the_feature_is_left_out_by_its_name() -> None:
    """A node whose supervisor does not answer takes no package that has companions."""
    with pytest.raises(RefusedError) as caught:
        draft_application(_fleet(companions=False), _spec(), _package(), a_command())

    assert "it has no companions" in str(rules(caught.value.reasons))


def test_a_node_of_a_platform_without_the_companion_is_left_out() -> None:
    """The program has an object for every platform, the companion has not."""
    node = replace(_fleet().nodes["n1"], platform="linux-aarch64")

    with pytest.raises(RefusedError) as caught:
        draft_application(a_fleet(node), _spec(), _package(), a_command())

    (reason,) = caught.value.reasons
    assert reason.rule == ("it is linux-aarch64, and the companion exporter is for linux-x86_64")


def test_other_arguments_are_another_desired_state_and_no_other_program() -> None:
    """The node is told, and links nothing anew."""
    before = _applied(_fleet(), _spec())
    after = _applied(before, _spec(port=9200), at=2)

    (chain,) = after.desired["n1"].chains
    assert chain.programs[0].companions["exporter"].arguments["port"] == 9200
    assert after.desired["n1"].generation == before.desired["n1"].generation + 1
    assert derive_desired(after).changed == {}


def test_a_plan_says_that_other_arguments_link_nothing_anew() -> None:
    """As map entries and variables do not."""
    before = _applied(_fleet(), _spec())

    draft = draft_application(before, _spec(port=9200), _package(), a_command(2))

    assert [chain.configuration_only for chain in draft.plan.chains] == [True]


@pytest.mark.parametrize(
    "arguments",
    [
        {"listen": "lo"},
        {"listen": "lo", "port": 1024, "verbose": True},
        {"listen": "lo", "port": 1023},
        {"listen": "lo", "port": 65536},
        {"listen": "lo", "verbose": "yes"},
        {"listen": 1},
        {"listen": "lo", "colour": "red"},
        {},
    ],
)
def test_the_published_schema_takes_what_plans_take(arguments: dict[str, Any]) -> None:
    """For editors and forms; `l3af package show --schema` prints it."""
    package = _package()
    schema = configuration_schema(package.manifest, package.elf)
    wish = CompanionWish(arguments=arguments)
    try:
        resolve_program(a_spec(companions={"exporter": wish}), package)
        is_taken = True
    except ProgramChoiceError:
        is_taken = False

    assert accepts(schema, {"companions": {"exporter": {"arguments": arguments}}}) == is_taken
    assert not accepts(schema, {"companions": {"importer": {}}})


@pytest.mark.parametrize(
    ("state", "reason", "place", "why"),
    [
        ("ready", "", "running", ""),
        ("stopped", "", "running", ""),
        ("starting", "", "pending", "is starting"),
        ("backing-off", "exited with status 1", "pending", "backing-off: exited with status 1"),
        ("unknown", "", "pending", "is unknown"),
        ("stopped", "exited with status 1", "failed", "stopped: exited with status 1"),
        ("gave-up", "killed by SIGSEGV", "failed", "gave-up: killed by SIGSEGV"),
    ],
)
def test_a_place_runs_when_its_companions_do_their_work(
    state: CompanionState, reason: str, place: str, why: str
) -> None:
    """The program's being on its hook is not enough, and what is the matter is said."""
    fleet = _applied(_fleet(), _spec())

    (view,) = view_places(fleet.deployments["edge"], fleet, _observing(fleet, state, reason=reason))

    assert view.state == place
    assert [one.rule for one in view.why] == ([why] if why else [])


def test_a_companion_with_the_arguments_of_another_revision_is_not_the_wanted_one() -> None:
    """Between the program's revision and the companion's, the place is pending."""
    fleet = _applied(_fleet(), _spec())
    later = _applied(fleet, _spec(port=9200), at=2)

    (view,) = view_places(later.deployments["edge"], later, _observing(later, "ready"))
    (over,) = view_places(later.deployments["edge"], later, _observing(later, "ready", revision=2))

    assert (view.state, over.state) == ("pending", "running")


def test_a_deployment_ends_when_its_companions_are_ready_or_were_given_up() -> None:
    """Not while one starts; and a failure carries the companion's own reason."""
    fleet = _applied(_fleet(), _spec())
    record = fleet.deployments["edge"]

    assert endings(record, fleet, _observing(fleet, "starting")) == []
    (ready,) = endings(record, fleet, _observing(fleet, "ready"))
    (lost,) = endings(record, fleet, _observing(fleet, "gave-up", reason="exit status 3"))

    assert ready.body.outcome == "succeeded"
    assert lost.body.outcome == "failed"
    assert rules(lost.body.reasons) == {
        "nodes.n1.eth0.companions.exporter": "gave-up: exit status 3"
    }


def test_a_node_checks_arguments_against_the_signed_manifest() -> None:
    """It believes the publisher, whoever tells it what."""
    package = _package()
    resolved = resolve_program(_spec(), package)
    fleet = _applied(_fleet(), _spec())
    program = fleet.desired["n1"].chains[0].programs[0]
    other = msgspec.structs.replace(
        program,
        companions={"exporter": DesiredCompanion(arguments={"port": 1}), "x": DesiredCompanion()},
    )

    def problems(desired: Any, platform: str) -> dict[str, str]:
        return rules(
            program_problems(
                desired, package.manifest, hook="xdp", platform=platform, path="programs[0]"
            )
        )

    assert resolved.companions == program.companions
    assert problems(program, HERE) == {}
    assert problems(other, HERE) == {
        "programs[0].companions.x": "the signed manifest has no such companion",
        "programs[0].companions.exporter.arguments.port": "is outside its range",
        "programs[0].companions.exporter.arguments.listen": "is required",
    }
    assert problems(program, "linux-aarch64") == {
        "programs[0].companions.exporter": "is not made for linux-aarch64"
    }


values = st.one_of(
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20),
)


@given(
    value=values,
    kind=st.sampled_from(["string", "integer", "boolean"]),
    low=st.none() | st.integers(-10, 10),
    high=st.none() | st.integers(-10, 10),
)
def test_a_value_is_taken_exactly_if_it_is_of_the_declared_type_and_range(
    value: ArgumentValue, kind: Any, low: int | None, high: int | None
) -> None:
    """Stated a second time, in other words."""
    argument = CompanionArgument(type=kind, minimum=low, maximum=high)
    entry = CompanionEntry(executables={HERE: "x"}, arguments={"a": argument})

    is_taken = not list(argument_problems({"a": value}, entry, path="p"))

    same_type = {str: "string", int: "integer", bool: "boolean"}[type(value)] == kind
    in_range = type(value) is not int or (
        (low is None or low <= value) and (high is None or value <= high)
    )
    assert is_taken == (same_type and in_range)


@given(st.dictionaries(st.from_regex(r"\A[a-z][a-z0-9-]{0,8}[a-z0-9]\Z"), values, max_size=5))
def test_words_say_every_argument_once_and_nothing_else(
    arguments: dict[str, ArgumentValue],
) -> None:
    """What was handed over can be read back from the words, whatever order it was given in."""
    words = rendered_arguments(arguments)
    read_back = dict(word.removeprefix("--").split("=", 1) for word in words)

    assert words == rendered_arguments(dict(reversed(arguments.items())))
    assert read_back == {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in arguments.items()
    }


@given(st.dictionaries(st.sampled_from(["port", "listen", "verbose"]), values))
def test_what_is_given_wins_over_defaults(arguments: dict[str, ArgumentValue]) -> None:
    """Nothing that is given is lost, and nothing else is added than defaults."""
    assert whole_arguments(arguments, ENTRY) == {"port": 9100, **arguments}
