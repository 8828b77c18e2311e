# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node lets a package do, and what it says about itself."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest

from services.node_executor.config import NodeExecutorConfig, check_bpffs_dir, check_labels
from services.node_executor.events import change_event_id
from services.node_executor.generations import Point, plan_digest
from services.node_executor.packages import open_package, program_problems
from services.node_executor.registration import is_outdated, registration_event_id
from services.node_executor.staging import merge
from shared.config import load_config
from shared.contracts.desired import Cause, DesiredChain, DesiredProgram
from shared.contracts.interfaces import Interface
from shared.contracts.node import NodeRecord
from shared.contracts.package_manifest import MapEntry
from shared.errors import Reason, RefusedError, VerificationError
from shared.package_archive import write_archive
from tests.package_builders import (
    FILES,
    NOW,
    STRANGER_SEED,
    a_certificate,
    a_manifest,
    sign,
)
from tests.support.trusting import a_trust

ARCHIVE = write_archive(FILES)
MANIFEST = a_manifest(
    maps={"limits": MapEntry(key_minimum=1, key_maximum=65535, value_maximum=1000)}
)


def a_program(**changes: Any) -> DesiredProgram:
    """Program `one` of package `one`, as its manifest offers it."""
    fields: dict[str, Any] = {
        "deployment": "first",
        "revision": 1,
        "package": "one",
        "version": "1.0.0",
        "program": "one",
        "function": "one",
        "object": "one.bpf.o",
        "order": 10,
        "proceed_on": ("pass",),
        "signed": sign(MANIFEST),
    }
    return DesiredProgram(**{**fields, **changes})


def problems(**changes: Any) -> list[str]:
    """Paths of everything wrong with the program on an XDP hook."""
    found = program_problems(
        a_program(**changes), MANIFEST, hook="xdp", platform="linux-x86_64", path="p"
    )
    return [reason.path for reason in found]


def test_a_package_is_opened_when_everything_matches() -> None:
    """Certificate, manifest, archive digest and every file."""
    opened = open_package(sign(MANIFEST), ARCHIVE, trust=a_trust(), now=NOW)

    assert dict(opened.files) == dict(FILES)
    assert opened.publisher == "acme"


@pytest.mark.parametrize(
    "signed",
    [
        sign(MANIFEST, archive=b"another"),
        sign(MANIFEST, trust_seed=STRANGER_SEED),
        sign(MANIFEST, seed=STRANGER_SEED),
        sign(MANIFEST, certificate=a_certificate(packages=("other-*",))),
        sign(a_manifest(files={**FILES, "one.bpf.o": b"\x7fELF two"})),
    ],
    ids=["archive", "trust root", "publisher", "name", "file"],
)
def test_a_package_with_anything_that_does_not_match_stays_closed(signed: Any) -> None:
    """Whichever link of the chain is broken."""
    with pytest.raises(VerificationError) as caught:
        open_package(signed, ARCHIVE, trust=a_trust(), now=NOW)

    assert caught.value.reasons


def test_what_the_manifest_offers_has_no_problem() -> None:
    """Values at both ends of the range are in it."""
    assert problems(config={"limits": {"1": 0, "65535": 1000}}) == []


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"package": "two"}, ["p.package"]),
        ({"version": "1.0.1"}, ["p.version"]),
        ({"program": "two"}, ["p.program"]),
        ({"object": "two.o", "function": "two"}, ["p.object", "p.function"]),
        ({"proceed_on": ()}, ["p.proceed_on"]),
        ({"proceed_on": ("pass", "shot")}, ["p.proceed_on[1]"]),
        ({"config": {"windows": {"1": 1}}}, ["p.config.windows"]),
        ({"config": {"limits": {"0": 1}}}, ["p.config.limits.0 (key)"]),
        ({"config": {"limits": {"80": 1001}}}, ["p.config.limits.80"]),
        ({"config": {"limits": {"80": [1, 2000]}}}, ["p.config.limits.80"]),
    ],
)
def test_every_difference_from_the_manifest_is_named(
    changes: dict[str, Any], paths: list[str]
) -> None:
    """Nothing in a desired program is taken on trust."""
    assert problems(**changes) == paths


def test_a_program_for_another_hook_is_refused() -> None:
    """A manifest says which hooks a program is made for."""
    found = program_problems(
        a_program(proceed_on=("ok",)),
        MANIFEST,
        hook="tc-ingress",
        platform="linux-x86_64",
        path="p",
    )

    assert [reason.path for reason in found] == ["p.program"]


def test_one_problem_keeps_its_words_and_many_are_said_together() -> None:
    """The first one's code stands for all."""
    first = RefusedError("no", [Reason(path="a", rule="a")], code="not_found")
    second = RefusedError("never")

    assert merge([first]) is first
    merged = merge([first, second])
    assert (merged.message, merged.refusal_code) == ("no; never", "not_found")
    assert [reason.rule for reason in merged.reasons] == ["a", "never"]


def test_an_event_id_belongs_to_one_step_of_one_change() -> None:
    """The same step has the same id; whatever differs makes another."""
    point = Point("data0", "xdp")

    def event_id(**changes: Any) -> str:
        fields: dict[str, Any] = {"desired_generation": 1, "number": 2, "command_id": "command-1"}
        return change_event_id("n1", point, "chain.attach", **{**fields, **changes})

    ids = [
        event_id(),
        event_id(desired_generation=2),
        event_id(number=3),
        event_id(command_id="command-2"),
    ]
    assert event_id() == ids[0]
    assert len(set(ids)) == len(ids)


def test_the_plan_digest_covers_what_shapes_the_program_alone() -> None:
    """Revision, order number, entries, metrics and cause leave it as it is."""

    def digest(program: DesiredProgram, command: str = "command-1") -> str:
        cause = Cause(command_id=command)
        return plan_digest(
            DesiredChain(interface="data0", hook="xdp", programs=(program,), cause=cause)
        )

    same = digest(a_program(revision=9, order=1, config={"limits": {"1": 1}}), "command-2")
    assert same == digest(a_program())
    assert digest(a_program(proceed_on=("drop",))) != digest(a_program())


def a_record(**changes: Any) -> NodeRecord:
    """A node."""
    fields: dict[str, Any] = {
        "node": "n1",
        "hostname": "h",
        "architecture": "x86_64",
        "kernel": "6.18",
        "executor_version": "1",
        "boot_id": "b",
        "registered_at": "2026-01-01",
    }
    return NodeRecord(**{**fields, **changes})


def test_a_node_registers_again_only_when_it_changed() -> None:
    """The moment of reading is no change; an interface more is."""
    with_interface = a_record(interfaces=(Interface(name="data0", index=2),))

    assert is_outdated(None, a_record())
    assert not is_outdated(a_record(), a_record(registered_at="2026-02-02"))
    assert is_outdated(a_record(), with_interface)


def test_a_registration_is_said_once_for_each_record_it_replaces() -> None:
    """A crash between the event and the record leads to the same event."""
    first = registration_event_id(a_record(), replaced_revision=4)

    assert registration_event_id(a_record(registered_at="later"), replaced_revision=4) == first
    assert registration_event_id(a_record(), replaced_revision=5) != first


def test_the_environment_configures_an_executor() -> None:
    """Labels are written key=value."""
    environment = {
        "NODE_EXECUTOR_CREDENTIALS_DIR": "/c",
        "NODE_EXECUTOR_STATE_DIR": "/s",
        "NODE_EXECUTOR_LABELS": "role=edge,site=a1",
    }

    config = load_config(NodeExecutorConfig, environment, prefix="NODE_EXECUTOR_")

    assert check_labels(config.labels) == {"role": "edge", "site": "a1"}
    assert str(config.bpffs_dir) == "/sys/fs/bpf/l3af"


def test_labels_that_the_contract_does_not_allow_are_all_named() -> None:
    """Before anything is registered."""
    with pytest.raises(RefusedError) as caught:
        check_labels({"Role": "edge", "site": "a b", "ok": "fine"})

    assert [reason.path for reason in caught.value.reasons] == ["labels.Role", "labels.site"]


@pytest.mark.parametrize(
    ("platform", "object_file", "rule"),
    [
        ("linux-x86_64", "x86.o", None),
        ("linux-aarch64", "arm.o", None),
        ("linux-aarch64", "x86.o", "is not the one for linux-aarch64"),
        ("linux-riscv64", "x86.o", "the program is not made for linux-riscv64"),
        ("linux-x86_64", "two.o", "differs from the signed manifest"),
    ],
)
def test_a_node_takes_only_the_object_of_its_platform(
    platform: str, object_file: str, rule: str | None
) -> None:
    """An object of another platform is refused before anything is loaded."""
    entry = msgspec.structs.replace(
        MANIFEST.programs[0],
        object="",
        objects={"linux-x86_64": "x86.o", "linux-aarch64": "arm.o"},
    )
    manifest = msgspec.structs.replace(MANIFEST, programs=(entry,))

    found = program_problems(
        a_program(object=object_file), manifest, hook="xdp", platform=platform, path="p"
    )

    assert [reason.rule for reason in found] == ([] if rule is None else [rule])


def test_pins_lie_at_one_place_wherever_the_executor_is_started() -> None:
    """A relative path would make the chains of an earlier process somebody else's."""
    assert check_bpffs_dir(Path("/sys/fs/bpf/l3af")) == PurePosixPath("/sys/fs/bpf/l3af")
    with pytest.raises(RefusedError, match="NODE_EXECUTOR_BPFFS_DIR must be absolute"):
        check_bpffs_dir(Path("bpf/l3af"))
