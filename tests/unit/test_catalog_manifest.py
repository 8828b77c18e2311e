# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Manifests: what they say against what their object files hold."""

from __future__ import annotations

from typing import Any

import pytest

from services.catalog.manifest import manifest_reasons
from shared.contracts.package_facts import ElfFacts, MapFacts, ProgramFacts
from shared.contracts.package_manifest import MapEntry, MetricEntry, PackageManifest
from shared.identifiers import PROBE_HOOKS, Hook
from tests.package_builders import a_manifest, a_program, some_facts


def rules(manifest: PackageManifest, *elf: ElfFacts) -> dict[str, str]:
    """Path to rule of every reason."""
    found = manifest_reasons(manifest, elf or [some_facts()])
    return {reason.path: reason.rule for reason in found}


def test_a_manifest_that_keeps_its_word_has_no_reasons() -> None:
    """Programs, maps and metrics that the object file has are fine."""
    manifest = a_manifest(
        maps={"limits": MapEntry(key_minimum=1, key_maximum=65535)},
        metrics={"total": MetricEntry(map="limits", key="*")},
    )

    assert rules(manifest) == {}


def test_a_program_must_be_in_its_object() -> None:
    """A function that the object file lacks is refused, with those it has."""
    assert rules(a_manifest(programs=(a_program(function="two"),))) == {
        "manifest.programs[0].function": "one.bpf.o has no such program"
    }


@pytest.mark.parametrize(
    ("section", "fits"),
    [
        ("xdp", {"xdp"}),
        ("xdp.frags", {"xdp"}),
        ("xdp_ratelimiting", {"xdp"}),
        ("tc", {"tc-ingress", "tc-egress"}),
        ("classifier", {"tc-ingress", "tc-egress"}),
        ("tcx/ingress", {"tc-ingress"}),
        ("tcx/egress", {"tc-egress"}),
        ("tc-ingress-root", {"tc-ingress"}),
        ("kprobe/tcp_connect", set()),
        (".text", set()),
    ],
)
def test_a_program_fits_the_hooks_of_its_section(section: str, fits: set[Hook]) -> None:
    """An XDP program is no TC program, and an ingress program is no egress program."""
    program = ProgramFacts(function="one", section=section, instructions=2, helpers=())
    facts = some_facts(programs=(program,))
    hooks: tuple[Hook, ...] = ("xdp", "tc-ingress", "tc-egress")

    accepted = {
        hook for hook in hooks if not rules(a_manifest(programs=(a_program(hooks=(hook,)),)), facts)
    }

    assert accepted == fits


@pytest.mark.parametrize(
    ("section", "fits"),
    [
        ("tp/sched/sched_switch", "tracepoint"),
        ("?tracepoint", "tracepoint"),
        ("raw_tp/sched_switch", "raw-tracepoint"),
        ("kprobe/vfs_unlink", "kprobe"),
        ("kretprobe", "kretprobe"),
        ("uprobe.s/bin/bash:readline", "uprobe"),
        ("uretprobe", "uretprobe"),
        ("fentry.s/vfs_unlink", "fentry"),
        ("fexit/vfs_unlink", "fexit"),
        ("lsm/file_open", "lsm"),
        ("cgroup/connect4", "cgroup"),
        ("cgroup_skb/egress", "cgroup"),
        ("cgroup/dev", "cgroup"),
        ("sockops", "sockops"),
        ("iter/task", "iterator"),
        ("kprobe.multi/vfs_*", None),
        ("raw_tp.w/sched_switch", None),
        ("lsm_cgroup/socket_bind", None),
        ("usdt", None),
        ("ksyscall/unlink", None),
        ("struct_ops/x", None),
        ("cgroup/skb", None),
    ],
)
def test_a_probe_is_what_its_section_says(section: str, fits: Hook | None) -> None:
    """Exactly one kind; what libbpf attaches to many places at once is none."""
    program = ProgramFacts(function="one", section=section, instructions=2, helpers=())
    facts = some_facts(programs=(program,))

    found = {
        hook
        for hook in PROBE_HOOKS
        if not rules(a_manifest(programs=(a_program(hooks=(hook,)),)), facts)
    }

    assert found == ({fits} if fits else set())


def test_a_probe_says_nothing_of_chains_and_is_not_compiled_on_nodes() -> None:
    """What would be ignored is refused by name."""
    tracing = ProgramFacts(function="one", section="tp/a/b", instructions=2, helpers=())
    facts = some_facts(programs=(tracing,))
    said = a_program(hooks=("tracepoint",), order=5, proceed_on=("pass",), flags=("frags",))

    assert rules(a_manifest(programs=(said,)), facts).keys() >= {
        "manifest.programs[0].order",
        "manifest.programs[0].proceed_on",
        "manifest.programs[0].flags",
    }
    bcc = a_program(hooks=("tracepoint",), compiler="bcc", object="one.c")
    assert "manifest.programs[0].compiler" in rules(a_manifest(programs=(bcc,)), facts)


def test_names_are_used_once() -> None:
    """Two programs of one name, or one hook twice, are refused."""
    programs = (a_program(), a_program(hooks=("xdp", "xdp")))

    assert rules(a_manifest(programs=programs)) == {
        "manifest.programs[1].name": "programs[0] has this name already",
        "manifest.programs[1].hooks": "names a hook twice",
    }


def test_proceed_on_names_verdicts_of_the_hook() -> None:
    """A TC verdict means nothing to XDP."""
    programs = (a_program(proceed_on=("pass", "pipe")),)

    assert rules(a_manifest(programs=programs)) == {
        "manifest.programs[0].proceed_on": "is not a verdict of xdp"
    }


def test_maps_and_metrics_must_exist() -> None:
    """What no object file has cannot be configured or read."""
    manifest = a_manifest(
        maps={"other": MapEntry(value_minimum=2, value_maximum=1)},
        metrics={"total": MetricEntry(map="gone", key="all")},
    )

    assert rules(manifest) == {
        "manifest.maps.other": "no object file has this map",
        "manifest.maps.other.value_minimum": "is above the maximum",
        "manifest.metrics.total.map": "no object file has this map",
        "manifest.metrics.total.key": "is not a key",
    }


def test_a_map_that_a_node_has_once_is_nobodys_to_configure() -> None:
    """It must be one of the objects', is named once, and is not offered to deployments."""
    offered = a_manifest(node_maps=("limits",), maps={"limits": MapEntry()})
    unknown = a_manifest(node_maps=("limits", "nowhere", "limits"))

    assert rules(a_manifest(node_maps=("limits",))) == {}
    assert rules(offered).keys() == {"manifest.node_maps[0]"}
    assert rules(unknown) == {
        "manifest.node_maps[1]": "no object file has this map",
        "manifest.node_maps[2]": "is named twice",
    }


def test_configuration_needs_types() -> None:
    """A map whose object has no BTF cannot be configured, because nobody knows its types."""
    manifest = a_manifest(maps={"limits": MapEntry()})

    assert "has no BTF" in rules(manifest, some_facts(has_btf=False))["manifest.maps.limits"]


@pytest.mark.parametrize("version", ["1", "1.2", "v1.0.0", "latest"])
def test_a_version_is_semver(version: str) -> None:
    """What cannot be ordered cannot be released."""
    assert rules(a_manifest(version=version)).keys() == {"manifest.version"}


def test_a_name_that_ends_in_a_line_end_is_refused() -> None:
    """The pattern's `$` would allow it; the parser does not."""
    assert rules(a_manifest(name="one\n")).keys() == {"manifest.name"}


def from_source(**changes: Any) -> ElfFacts:
    """What can be said of the source of `one`."""
    maps = (
        MapFacts(name="limits", type="hash", key_size_bytes=0, value_size_bytes=0, max_entries=0),
    )
    fields = {"path": "one.c", "compiler": "bcc", "has_btf": False, "maps": maps}
    return some_facts(**{**fields, **changes})


def test_source_that_nodes_compile_is_held_to_what_it_says() -> None:
    """Names and hooks are checked; types are the node's to find out."""
    program = a_program(object="one.c", compiler="bcc")
    maps = {"limits": MapEntry()}
    good = a_manifest(programs=(program,), maps=maps)
    bad = a_manifest(
        programs=(a_program(object="one.c", compiler="bcc", function="two"),),
        maps={"other": MapEntry()},
    )

    assert rules(good, from_source()) == {}
    assert set(rules(bad, from_source())) == {
        "manifest.programs[0].function",
        "manifest.maps.other",
    }


def test_a_file_is_an_object_or_a_source() -> None:
    """A compiler takes C files, and all programs of a file have the same one."""
    programs = (a_program(compiler="bcc"), a_program(name="two"))

    assert rules(a_manifest(programs=programs)) == {
        "manifest.programs[0].object": "is not a C file",
        "manifest.programs[1].compiler": "one.bpf.o has another compiler in program one",
    }
