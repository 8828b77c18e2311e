# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""TC chains beside programs of other owners: order on TCX, and what each verdict does."""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack
from pathlib import PurePosixPath

import pytest

from services.node_executor.adapters import cls_bpf, hooks, kernel_info, pins
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.attachment import AnchorMissingError
from services.node_executor.linking.plan import LinkPolicy
from shared.contracts.node import TC_VERDICTS
from shared.identifiers import Hook
from tests.support.executors import Wire
from tests.support.interfaces import Veth
from tests.support.other_owners import a_foreign_program, a_judge, names, passes, seen_by

TCX_HOOKS: tuple[Hook, ...] = ("tc-ingress", "tc-egress")
EGRESS: Hook = "tc-egress"
ENDINGS_ON_TCX: dict[str, tuple[bool, bool]] = {
    "unspec": (True, True),
    "ok": (True, True),
    "reclassify": (True, False),
    "shot": (False, False),
    "pipe": (True, True),
    "stolen": (False, False),
    "queued": (False, False),
    "repeat": (True, False),
    "redirect": (False, False),
    "trap": (False, False),
}
"""Verdict at the end of a chain: whether the packet passes, and whether later owners see it."""
ENDINGS_ON_CLS_BPF: dict[str, tuple[bool, bool]] = {
    "unspec": (True, True),
    "ok": (True, False),
    "reclassify": (True, True),
    "shot": (False, False),
    "pipe": (True, True),
    "stolen": (False, False),
    "queued": (True, True),
    "repeat": (True, True),
    "redirect": (False, False),
    "trap": (False, False),
}
"""Direct action knows ok, shot, stolen, trap and redirect; all else is unspec (cls_bpf.c)."""


pytestmark = pytest.mark.usefixtures("nothing_leaks")


def a_chain(hook: Hook, *, name: str = "ours") -> LinkedChain:
    """A chain that lets packets pass to whoever comes behind it."""
    return link_chain([a_judge(-1, name=name)], hook, name=name)


def test_every_verdict_is_in_both_tables() -> None:
    """No value is left to chance."""
    assert set(ENDINGS_ON_TCX) == set(ENDINGS_ON_CLS_BPF) == set(TC_VERDICTS)


@pytest.mark.parametrize("verdict", ENDINGS_ON_TCX)
def test_what_a_verdict_does_at_the_end_of_a_chain_on_tcx(wire: Wire, verdict: str) -> None:
    """Real packets: whether they pass, and whether a later owner of the hook sees them."""
    index = socket.if_nametoindex(wire.name)
    sources = [a_judge(-1, name="first"), a_judge(TC_VERDICTS[verdict])]
    policy = LinkPolicy(hook=EGRESS, attachment="tcx")

    with (
        link_chain(sources, EGRESS, name="ours", policy=policy) as chain,
        a_foreign_program(EGRESS) as later,
        hooks.attach(chain.program, index, EGRESS, hook_point="p").link,
        hooks.attach(later.program, index, EGRESS, hook_point="p").link,
    ):
        outcome = (passes(wire.name, wire.peer), seen_by(later) == 1)

    assert outcome == ENDINGS_ON_TCX[verdict]


@pytest.mark.parametrize("verdict", ["unspec", "ok", "pipe"])
def test_a_chain_that_shall_end_with_ok_hides_later_owners(wire: Wire, verdict: str) -> None:
    """The operator's choice, instead of letting them run."""
    index = socket.if_nametoindex(wire.name)
    sources = [a_judge(-1, name="first"), a_judge(TC_VERDICTS[verdict])]
    policy = LinkPolicy(hook=EGRESS, attachment="tcx", end_verdict="ok")

    with (
        link_chain(sources, EGRESS, name="ours", policy=policy) as chain,
        a_foreign_program(EGRESS) as later,
        hooks.attach(chain.program, index, EGRESS, hook_point="p").link,
        hooks.attach(later.program, index, EGRESS, hook_point="p").link,
    ):
        assert passes(wire.name, wire.peer)
        assert seen_by(later) == 0


@pytest.mark.parametrize("verdict", ENDINGS_ON_CLS_BPF)
def test_what_a_verdict_does_at_the_end_of_a_chain_in_cls_bpf(
    wire: Wire, base: PurePosixPath, verdict: str
) -> None:
    """Real packets: stolen and trap consume, and what direct action does not know is unspec."""
    pins.prepare_pin_directory(base)
    index = socket.if_nametoindex(wire.name)
    sources = [a_judge(-1, name="first"), a_judge(TC_VERDICTS[verdict])]
    policy = LinkPolicy(hook=EGRESS, attachment="cls_bpf")

    with (
        link_chain(sources, EGRESS, name="ours", policy=policy) as chain,
        a_foreign_program(EGRESS) as later,
    ):
        cls_bpf.attach(base, wire.name, index, EGRESS, chain.program)
        pins.pin(later.program, base / "later")
        command = f"tc filter add dev {wire.name} egress prio 60000 bpf da pinned {base}/later"
        subprocess.run(command.split(), check=True)

        outcome = (passes(wire.name, wire.peer), seen_by(later) == 1)

    assert outcome == ENDINGS_ON_CLS_BPF[verdict]


@pytest.mark.parametrize("hook", TCX_HOOKS)
@pytest.mark.parametrize(
    ("position", "order"),
    [
        ("last", ["one", "two", "ours"]),
        ("first", ["ours", "one", "two"]),
        ("before:two", ["one", "ours", "two"]),
        ("after:one", ["one", "ours", "two"]),
        ("before:one", ["ours", "one", "two"]),
    ],
)
def test_a_chain_stands_where_it_shall_among_other_owners(
    veth: Veth, hook: Hook, position: str, order: list[str]
) -> None:
    """They are left alone, whichever place it takes."""
    with ExitStack() as stack:
        for name in ("one", "two"):
            theirs = stack.enter_context(a_foreign_program(hook, name=name))
            stack.enter_context(hooks.attach(theirs.program, veth.index, hook, hook_point="p").link)
        ours = stack.enter_context(a_chain(hook))

        made = hooks.attach(ours.program, veth.index, hook, hook_point="p", position=position)
        stack.enter_context(made.link)

        assert made.kind == "tcx"
        assert names(hooks.occupants(veth.index, hook)) == order


def test_a_neighbour_may_be_named_by_its_id(veth: Veth) -> None:
    """Names are not unique, ids are."""
    with ExitStack() as stack:
        anchors = [stack.enter_context(a_foreign_program(EGRESS, name="twin")) for _ in range(2)]
        for anchor in anchors:
            made = hooks.attach(anchor.program, veth.index, EGRESS, hook_point="p")
            stack.enter_context(made.link)
        ours = stack.enter_context(a_chain(EGRESS))

        position = f"after:{anchors[0].info.id}"
        made = hooks.attach(ours.program, veth.index, EGRESS, hook_point="p", position=position)
        stack.enter_context(made.link)

        assert names(hooks.occupants(veth.index, EGRESS)) == ["twin", "ours", "twin"]


@pytest.mark.parametrize("position", ["before:absent", "after:twin"])
def test_a_neighbour_that_is_not_there_or_not_alone_is_refused(veth: Veth, position: str) -> None:
    """The refusal lists who is there; a name that two have says nothing."""
    with ExitStack() as stack:
        for _ in range(2):
            anchor = stack.enter_context(a_foreign_program(EGRESS, name="twin"))
            made = hooks.attach(anchor.program, veth.index, EGRESS, hook_point="p")
            stack.enter_context(made.link)
        ours = stack.enter_context(a_chain(EGRESS))

        with pytest.raises(AnchorMissingError) as caught:
            hooks.attach(ours.program, veth.index, EGRESS, hook_point="p", position=position)

        assert caught.value.refusal_code == "conflict"
        assert "twin" in str(caught.value.reasons[0].allowed)
        assert names(hooks.occupants(veth.index, EGRESS)) == ["twin", "twin"]


def test_a_chain_that_was_closed_a_moment_ago_can_be_attached_again(veth: Veth) -> None:
    """The kernel ends links in its own time, and takes a program only once on a hook."""
    with a_chain(EGRESS) as ours:
        for _ in range(5):
            with hooks.attach(ours.program, veth.index, EGRESS, hook_point="p").link as link:
                assert kernel_info.link_info(link.fd).program_id == ours.info.id
