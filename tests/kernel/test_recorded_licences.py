# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What events say of licences, of principals and of what runs, on the real kernel."""

from __future__ import annotations

import msgspec

from services.auditor.sightings import event_sightings, readings
from services.node_executor.adapters import kernel_info
from services.node_executor.generations import Point
from shared.canonical import sha256_hex
from shared.contracts.desired import Cause
from shared.contracts.events import Event
from shared.contracts.inventory import HookReading
from shared.contracts.licences import StatedLicence
from shared.contracts.package_manifest import PackageManifest, ProgramEntry
from tests.support.bpf_objects import compile_source
from tests.support.executors import Executor, Published, Wire, a_chain, a_program, packed, published

STATED = StatedLicence(
    declared="GPL-2.0-only OR BSD-2-Clause",
    elected="GPL-2.0-only",
    policy="default 1",
    findings=("source-tags: noted",),
    waivers=("waiver-1",),
)
TALKING = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int talks(struct xdp_md *ctx)
{
	bpf_printk("seen");
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
"""


def newest(executor: Executor, action: str) -> Event:
    """The last event with this action."""
    return [event for event in executor.events() if event.data.action == action][-1]


def reading_of(event: Event) -> HookReading:
    """What the event says of its hook point."""
    (reading,) = readings(event.data)
    return reading


def talking() -> Published:
    """A package that calls a helper for GPL-compatible programs alone."""
    manifest = PackageManifest(
        name="talks",
        version="1.0.0",
        summary="Talks",
        licence="GPL-2.0-only",
        programs=(
            ProgramEntry(name="talks", object="talks.bpf.o", function="talks", hooks=("xdp",)),
        ),
    )
    return packed(manifest, {"talks.bpf.o": compile_source(TALKING)})


def test_an_attachment_says_under_which_licences_each_program_runs(
    executor: Executor, wire: Wire
) -> None:
    """What was stated, the object's own string, and the bit that the kernel keeps."""
    point = Point(wire.name, "xdp")

    executor.settle(a_chain(wire.name, a_program("one", licence=STATED)), point, 1)

    event = newest(executor, "chain.attach")
    reading = reading_of(event)
    (program,) = reading.running or ()
    assert program.licence is not None
    with kernel_info.program_by_id(reading.program_id) as loaded:
        info = kernel_info.program_info(loaded.fd)
    assert program.licence.gpl_compatible == info.gpl_compatible
    assert msgspec.structs.asdict(program.licence) == {
        **msgspec.structs.asdict(STATED),
        "elf": "Dual BSD/GPL",
        "gpl_compatible": True,
        "gpl_only_helpers": (),
    }
    assert event.data.details["licence"] == STATED.declared
    archive = published("1.0.0", "xdp").opened()
    assert program.object_sha256 == sha256_hex(archive.files["counter.bpf.o"])


def test_helpers_for_gpl_compatible_programs_alone_are_named(
    executor: Executor, wire: Wire
) -> None:
    """By the kernel's own table, as it was probed."""
    package = talking()
    executor.opened = lambda _program, _hook: package.opened()
    program = a_program(
        "talks",
        package="talks",
        program="talks",
        function="talks",
        object="talks.bpf.o",
        signed=package.signed,
    )

    executor.settle(a_chain(wire.name, program), Point(wire.name, "xdp"), 1)

    (runs,) = reading_of(newest(executor, "chain.attach")).running or ()
    assert runs.licence is not None
    assert (runs.licence.elf, runs.licence.gpl_only_helpers) == ("GPL", ("bpf_trace_printk",))


def test_what_follows_from_a_command_names_its_principal(executor: Executor, wire: Wire) -> None:
    """Key, role and address are those of who gave it, and the node that acted is named."""
    cause = Cause(
        command_id="command-9", actor_key="UALICE", actor_role="operator", actor_address="ab" * 16
    )
    chain = msgspec.structs.replace(a_chain(wire.name, a_program("one")), cause=cause)

    executor.settle(chain, Point(wire.name, "xdp"), 1)

    for event in executor.events():
        actor = event.data.actor
        assert actor is not None
        assert event.data.correlation == "command-9"
        assert (actor.key, actor.role, actor.address) == ("UALICE", "operator", "ab" * 16)
        assert (actor.attested, actor.through) == (True, "node/n1")


def test_every_change_names_the_chain_before_and_after(executor: Executor, wire: Wire) -> None:
    """Digests of the plans, empty where nothing of ours runs."""
    point = Point(wire.name, "xdp")
    first = a_chain(wire.name, a_program("one"))
    executor.settle(first, point, 1)
    executor.settle(a_chain(wire.name, a_program("one", "2.0.0")), point, 2)
    executor.settle(a_chain(wire.name), point, 3)

    changes = [
        event.data
        for event in executor.events()
        if event.data.action in {"chain.attach", "chain.detach"}
    ]

    assert [change.before for change in changes] == ["", changes[0].after, changes[1].after]
    assert changes[0].after != changes[1].after
    assert [bool(change.after) for change in changes] == [True, True, False]


def test_a_reading_is_a_word_on_its_hook_point(executor: Executor, wire: Wire) -> None:
    """With the digests of everything that runs there; after a removal with none."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("one")), point, 1)
    executor.settle(a_chain(wire.name), point, 2)

    attached, detached = (
        next(event_sightings(newest(executor, action), index=0, time_us=0))
        for action in ("chain.attach", "chain.detach")
    )

    reading = reading_of(newest(executor, "chain.attach"))
    assert published("1.0.0", "xdp").signed.archive_sha256 in attached.digests
    assert {reading.program_tag, reading.plan_sha256} < attached.digests
    assert detached.digests == frozenset()
    assert detached.place == attached.place
