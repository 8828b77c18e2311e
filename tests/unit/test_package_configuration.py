# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a package says of its configuration: checked at publication, applied in plans."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.catalog.manifest import manifest_reasons
from services.catalog.publication import (
    decide_publication,
    draft_version,
    judged,
    kept_version,
)
from services.scheduler.acceptance import draft_application
from services.scheduler.program_choice import ProgramChoiceError, resolve_program
from shared.adapters.licence_policies import load_policy
from shared.configuration.json_schema import configuration_schema
from shared.contracts.catalog import PackageVersion
from shared.contracts.configuration import MemberEntry, VariableEntry
from shared.contracts.deployments import DeploymentSpec, ResolvedProgram
from shared.contracts.package_manifest import MapEntry, MetricEntry
from tests.fleets import a_command, a_fleet, a_spec, told
from tests.package_builders import NOW
from tests.support.configured_package import MAPS, VARIABLES, a_manifest, configured, facts
from tests.support.json_schemas import accepts

RULE = {
    "action": "MARK",
    "is_logged": True,
    "offset": -1,
    "weights": [1, 2],
    "name": "web",
    "low": 9,
    "high": -3,
    "mark": 7,
    "next": {"mac": "02:00:00:00:00:01"},
    "wide": "00000000000000ff",
    "deep": -5,
}


def a_version(**changes: Any) -> PackageVersion:
    """The version as the catalog publishes it."""
    manifest = a_manifest(**changes)
    draft = draft_version(
        configured().signed,
        manifest=manifest,
        elf=[facts()],
        channels=["stable"],
        publisher_key="UPUB",
        command_id="command-1",
        now=NOW,
    )
    version = judged(draft, load_policy("gpl-ok"), source_licences={}, kernels=[])
    decide_publication(None, name="configured", version=version)
    return version


def resolved(version: PackageVersion | None = None, **changes: Any) -> ResolvedProgram:
    """What a deployment of it leads to."""
    spec = DeploymentSpec(
        name="one", package="configured", hook="xdp", interfaces=("eth0",), **changes
    )
    return resolve_program(spec, version or a_version())


def refused(**changes: Any) -> dict[str, str]:
    """Path to rule of everything that the plan refuses."""
    with pytest.raises(ProgramChoiceError) as caught:
        resolved(**changes)
    return {reason.path: reason.rule for reason in caught.value.reasons}


def test_a_manifest_that_fits_its_types_is_published() -> None:
    """If it is large, the types of what the package offers are kept, of nothing else."""
    whole = a_version(maps={"rules": MAPS["rules"]}, variables={"limit": VARIABLES["limit"]})
    version = kept_version(whole, limit_bytes=len(msgspec.json.encode(whole)) - 1)

    assert kept_version(whole) == whole
    kept = {one.name for one in version.elf[0].maps if one.key is not None}
    assert kept == {"rules"}
    assert [one.name for one in version.elf[0].variables] == ["limit"]


def test_every_statement_that_its_types_cannot_keep_is_refused() -> None:
    """Formats, members, ranges and defaults, of maps and of variables."""
    manifest = a_manifest(
        maps={
            "rules": MapEntry(
                key_format="ipv4",
                value_members={"naem": MemberEntry(), "name": MemberEntry(minimum=1)},
            ),
            "networks": MapEntry(default={"10.0.0.1/8": 1, "10.0.0.0/8": -1}),
            "levels": MapEntry(default={"9": "LET"}),
            "steps": MapEntry(value_maximum=5, default={"0": 6}),
        },
        variables={
            "limit": VariableEntry(format="mac"),
            "threshold": VariableEntry(maximum=9, default=10),
            "absent": VariableEntry(),
            "label": VariableEntry(default="longer than that"),
        },
    )

    assert sorted(reason.path for reason in manifest_reasons(manifest, [facts()])) == [
        "manifest.maps.levels.default.9",
        "manifest.maps.networks.default.10.0.0.0/8",
        "manifest.maps.networks.default.10.0.0.1/8",
        "manifest.maps.rules.key_format",
        "manifest.maps.rules.value_members.naem",
        "manifest.maps.rules.value_members.name.minimum",
        "manifest.maps.steps.default.0",
        "manifest.variables.absent",
        "manifest.variables.label.default",
        "manifest.variables.limit.format",
        "manifest.variables.threshold.default",
    ]


def test_metrics_name_keys_as_configuration_does() -> None:
    """By format and by type; what is no such key is refused at publication."""
    right = {
        "one": MetricEntry(map="levels", key="2"),
        "two": MetricEntry(map="networks", key="10.0.0.0/8"),
        "all": MetricEntry(map="names", key="*", member="wide"),
        "some": MetricEntry(map="levels", key="1..3", aggregation="histogram"),
    }
    wrong = {
        "all": MetricEntry(map="names", key="*"),
        "one": MetricEntry(map="networks", key="10"),
        "two": MetricEntry(map="levels", key="x"),
    }

    assert list(manifest_reasons(a_manifest(metrics=right), [facts()])) == []
    assert [one.path for one in manifest_reasons(a_manifest(metrics=wrong), [facts()])] == [
        "manifest.metrics.all.member",
        "manifest.metrics.one.key",
        "manifest.metrics.two.key",
    ]


def test_a_plan_knows_the_types() -> None:
    """No node is asked to find out that a member is missing or a name is none."""
    short = {key: value for key, value in RULE.items() if key != "deep"}
    found = refused(
        config={
            "rules": {
                '{"address":"1.2.3.4","port":0,"protocol":6}': RULE | {"action": "DENY"},
                '{"address":"1.2.3.4","port":80,"protocol":6}': short | {"low": 16},
            },
            "peers": {"02:00:00:00:00:01": "1.2.3"},
            "networks6": {"::/0": "::1", "1.0.0.0/8": "::1"},
            "allowed": {str(port): True for port in range(100, 109)},
        },
        variables={"limit": 63, "threshold": "much", "calls": 1, "fixed": {"port": 5}},
    )

    assert found == {
        'config.rules.{"address":"1.2.3.4","port":0,"protocol":6}.port': (
            "is outside the range that the package states"
        ),
        'config.rules.{"address":"1.2.3.4","port":0,"protocol":6}.action': (
            "is no value of the enumeration action"
        ),
        'config.rules.{"address":"1.2.3.4","port":80,"protocol":6}.low': (
            "is out of range for 4-bit integer"
        ),
        'config.rules.{"address":"1.2.3.4","port":80,"protocol":6}.deep': "must be given",
        "config.peers.02:00:00:00:00:01": "must be an IPv4 address",
        "config.networks6.1.0.0.0/8": "must be an IPv6 prefix, as 2001:db8::/32",
        "config.allowed": "has more entries than the map can hold",
        "variables.calls": "the package declares no such variable for configuration",
        "variables.limit": "is outside the range that the package states",
        "variables.threshold": "must be an integer",
        "variables.fixed.address": "must be given",
        "variables.fixed.protocol": "must be given",
    }


def test_defaults_hold_where_nothing_is_said() -> None:
    """A map that is named has its entries alone, unless the package says `merge`."""
    plain = resolved()
    said = resolved(
        config={"levels": {"0": "LET"}, "allowed": {"80": False}},
        variables={"limit": 70, "threshold": 0},
    )

    assert plain.config == {"levels": {"1": "BLOCK"}, "allowed": {"22": True}}
    assert (plain.constants, plain.variables) == (
        {},
        {"threshold": 600, "otherwise": "LET", "label": "first"},
    )
    assert said.config == {"levels": {"0": "LET"}, "allowed": {"22": True, "80": False}}
    assert (said.constants, said.variables["threshold"]) == ({"limit": 70}, 0)


def test_the_schema_takes_what_plans_take_and_knows_names_ranges_and_defaults() -> None:
    """It is made of what the catalog holds."""
    version = a_version()
    schema = configuration_schema(version.manifest, version.elf)
    key = '{"address":"1.2.3.4","port":80,"protocol":6}'
    config = {"rules": {key: RULE}, "networks": {"10.0.0.0/8": 1}, "levels": {"0": "LET"}}

    assert resolved(version, config=config, variables={"limit": 64}).config
    assert accepts(schema, {"config": config, "variables": {"limit": 64}})
    refused_by_both: tuple[dict[str, Any], ...] = (
        {"config": {"rulez": {}}},
        {"config": {"rules": {key: RULE | {"action": "DENY"}}}},
        {"config": {"networks": {"10": 1}}},
        {"config": {"levels": {"-1": "LET"}}},
        {"config": {"allowed": {str(port): True for port in range(9)}}},
        {"variables": {"limit": 63}},
        {"variables": {"calls": 1}},
    )
    for wrong in refused_by_both:
        assert not accepts(schema, wrong), wrong
    variables = schema["properties"]["variables"]["properties"]
    assert (variables["limit"]["default"], variables["threshold"]["default"]) == (1000, 600)


def test_a_plan_says_whether_another_value_links_anew() -> None:
    """Constants are part of the program, other variables and entries are not."""
    version = a_version()

    def only_configured(**changes: Any) -> bool:
        before = a_spec(package="configured")
        after = a_spec(package="configured", **changes)
        first = draft_application(a_fleet(), before, version, a_command(1))
        fleet = told(a_fleet().with_deployment(first.record))
        draft = draft_application(fleet, after, version, a_command(2))
        return draft.plan.chains[0].configuration_only

    assert only_configured(variables={"threshold": 1})
    assert only_configured(config={"levels": {}})
    assert not only_configured(variables={"limit": 100})


def test_a_version_published_before_types_were_kept_is_judged_by_nodes() -> None:
    """What is not known refuses nothing, and nothing is made up."""
    version = a_version()
    elf = msgspec.structs.replace(
        version.elf[0],
        variables=(),
        maps=tuple(msgspec.structs.replace(one, key=None, value=None) for one in facts().maps),
    )
    manifest = msgspec.structs.replace(version.manifest, variables={})
    older = msgspec.structs.replace(version, elf=(elf,), manifest=manifest)

    found = resolved(older, config={"peers": {"anything": "else"}})

    assert found.config is not None
    assert found.config["peers"] == {"anything": "else"}
    assert (found.constants, found.variables) == ({}, {})
