# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains whose interface has another place now, step by step, on the kernel that runs the test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec
import pytest

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.pins import open_pinned
from services.node_executor.attachment import AttachmentRefusedError
from services.node_executor.execution import Steps
from services.node_executor.following import (
    BETWEEN_ATTEMPTS_SECONDS,
    PATIENCE_SECONDS,
    Following,
)
from services.node_executor.generations import Point
from services.node_executor.pin_paths import link_path
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from shared.identifiers import Hook
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    a_program,
    pins_below,
    real_kernel,
    send_frames,
)
from tests.support.namespaces import a_namespace, a_pair, delete, ip, move, raise_up, rename

pytestmark = pytest.mark.kernel


class Host:
    """One executor's parts, and following beside them."""

    def __init__(self, base: PurePosixPath, folder: Path) -> None:
        self.base = base
        self.kernel = real_kernel(base)
        self.executor = Executor(self.kernel, folder / "state.sqlite")
        self.executor.start()
        self.now = 0.0
        journal = self.executor.points._journal
        self.following = Following(
            node="n1",
            start="start-1",
            kernel=self.kernel,
            steps=Steps(self.kernel),
            journal=journal,
            points=self.executor.points,
            clock=lambda: self.now,
        )

    def settle(self, *chains: DesiredChain) -> None:
        """What the service does when the chains are desired."""
        wanted = {Point(one.interface, one.hook, one.netns): one for one in chains}
        self.follow(*chains)
        for point in sorted({*wanted, *self.executor.points.points()}):
            self.executor.settle(wanted.get(point), point, 1)

    def follow(self, *chains: DesiredChain, may_let_go: bool = True) -> bool:
        """Whether something still waits to be wanted elsewhere."""
        wanted = {Point(one.interface, one.hook, one.netns): one for one in chains}
        return self.following.follow(wanted, may_let_go=may_let_go)

    def link_id(self, interface: str, hook: Hook) -> int:
        """Of the pinned link."""
        link = open_pinned(link_path(self.base, interface, hook))
        assert link is not None
        with link:
            return kernel_info.link_info(link.fd).id


@pytest.fixture
def host(base: PurePosixPath, tmp_path: Path) -> Iterator[Host]:
    """An executor's parts."""
    made = Host(base, tmp_path)
    yield made
    made.executor.stop()


@pytest.fixture
def pair() -> Iterator[Wire]:
    """A veth pair that may be renamed."""
    with a_pair() as made:
        yield made
        delete(f"{made.name}x")


def counting(interface: str, hook: Hook = "xdp", **link: object) -> DesiredChain:
    """A chain that counts."""
    chain = a_chain(interface, a_program("one", hook=hook), hook=hook)
    return msgspec.structs.replace(chain, link=LinkOptions(**link))  # type: ignore[arg-type]


@pytest.mark.parametrize("hook", ["xdp", "tc-ingress"])
def test_the_new_name_takes_over_what_runs(host: Host, pair: Wire, hook: Hook) -> None:
    """The same link, maps, slots and generation; a restart finds it there."""
    old, new = pair.name, f"{pair.name}x"
    host.settle(counting(old, hook))
    before, held = host.executor.scalar(Point(old, hook), "one"), host.link_id(old, hook)
    rename(old, new)
    send_frames(pair.peer, 3)
    host.settle(counting(new, hook))
    send_frames(pair.peer, 4)

    point = Point(new, hook)
    assert host.link_id(new, hook) == held
    assert host.executor.scalar(point, "one") - before == 7
    assert {path.split("/")[0] for path in pins_below(host.base)} == {new}
    seen = host.executor.points.describe(point, counting(new, hook), desired_generation=1)
    assert (seen.state, seen.generation, seen.warnings) == ("attached", 1, ())
    host.executor.stop()
    host.executor.start()
    assert not host.executor.settle(counting(new, hook), point, 1)
    host.executor.settle(None, point, 2)
    assert pins_below(host.base) == []


@pytest.mark.parametrize("hook", ["xdp", "tc-ingress"])
def test_a_chain_goes_on_in_a_named_namespace_and_comes_back(
    host: Host, pair: Wire, hook: Hook
) -> None:
    """Counters go on, whether the kernel lets a link move with its interface or not."""
    with a_namespace() as blue:
        own = counting(pair.name, hook)
        there = msgspec.structs.replace(own, netns=blue)
        host.settle(own)
        before = host.executor.scalar(Point(pair.name, hook), "one")
        move(pair.name, blue)
        host.settle(there)
        send_frames(pair.peer, 3)
        assert host.executor.scalar(Point(pair.name, hook, blue), "one") - before == 3
        ip("link", "set", pair.name, "netns", str(os.getpid()), within=blue)
        raise_up(pair.name)
        host.settle(own)
        send_frames(pair.peer, 3)

        assert host.executor.scalar(Point(pair.name, hook), "one") - before == 6
        assert "chain.drift" not in host.executor.actions()


def test_a_filter_is_made_anew_under_the_new_name(host: Host, pair: Wire) -> None:
    """It has its hook point's name, so it cannot be taken over, and is never there twice."""
    old, new = pair.name, f"{pair.name}x"
    host.settle(counting(old, "tc-ingress", attach="cls_bpf"))
    rename(old, new)
    wanted = counting(new, "tc-ingress", attach="cls_bpf")
    host.settle(counting(old, "tc-ingress", attach="cls_bpf"), wanted)
    send_frames(pair.peer, 4)

    assert host.executor.scalar(Point(new, "tc-ingress"), "one") == 4
    filters = subprocess.run(
        ["tc", "filter", "show", "dev", new, "ingress"], check=True, capture_output=True, text=True
    ).stdout
    assert filters.count("direct-action") == 1
    host.settle()
    assert pins_below(host.base) == []


def test_a_chain_that_nobody_wants_at_the_new_name_leaves_after_a_while(
    host: Host, pair: Wire
) -> None:
    """The scheduler has time to learn the name; while it cannot, the chain stays."""
    old, new = pair.name, f"{pair.name}x"
    chain = counting(old)
    host.settle(chain)
    rename(old, new)

    assert host.follow(chain)
    host.now += PATIENCE_SECONDS
    assert host.follow(chain, may_let_go=False)
    assert "prog/xdp" in ip("link", "show", new)
    assert not host.follow(chain)
    assert "prog/xdp" not in ip("-d", "link", "show", new)
    last = host.executor.events()[-1].data
    assert (last.action, last.interface) == ("chain.detach", old)
    assert last.details["interface_went"] == f"{new}/xdp"

    rename(new, old)
    assert not host.executor.settle(chain, Point(old, "xdp"), 1)
    assert "prog/xdp" in ip("link", "show", old)


def test_an_interface_that_went_where_no_name_leads_loses_its_chain(host: Host, pair: Wire) -> None:
    """A container's network namespace, as a rule, has no name here."""
    chain = counting(pair.name)
    host.settle(chain)
    container = subprocess.Popen(["unshare", "-n", "sleep", "60"])
    try:
        away = ("nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "link", "show")
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{container.pid}/ns/net").readlink() == own:
            assert container.poll() is None
        ip("link", "set", pair.name, "netns", str(container.pid))
        assert host.follow(chain)
        host.now += PATIENCE_SECONDS
        assert not host.follow(chain)
        shown = subprocess.run((*away, pair.name), check=True, capture_output=True, text=True)
        assert "prog/xdp" not in shown.stdout
    finally:
        container.kill()
        container.wait()
    last = host.executor.events()[-1].data
    assert last.details["interface_went"] == "a network namespace without a name"


def test_two_interfaces_that_exchange_their_names_exchange_their_chains(host: Host) -> None:
    """Each name has its own chain again, with its own maps."""
    with a_pair() as first, a_pair() as second:
        chains = (counting(first.name), counting(second.name))
        host.settle(*chains)
        send_frames(first.peer, 3)
        rename(first.name, "exchange0")
        rename(second.name, first.name)
        rename("exchange0", second.name)
        host.settle(*chains)
        send_frames(second.peer, 4)

        assert host.executor.scalar(Point(first.name, "xdp"), "one") == 7
        assert host.executor.scalar(Point(second.name, "xdp"), "one") == 0
        assert "chain.drift" not in host.executor.actions()
        host.settle()
        assert pins_below(host.base) == []


def test_a_refusal_is_reconsidered_when_its_interface_changed(host: Host, pair: Wire) -> None:
    """At once if it is its own; veth looks at its peer, so any other counts, in time."""
    chain, point = counting(pair.name, attach="native"), Point(pair.name, "xdp")
    ip("link", "set", pair.peer, "mtu", "9000")
    points = host.executor.points

    def is_refused_again() -> bool:
        with pytest.raises(AttachmentRefusedError) as caught:
            host.executor.settle(chain, point, 1)
        points.refuse(point, chain, desired_generation=1, error=caught.value)
        return points.is_refused(point, chain)

    assert is_refused_again()
    host.following.reconsider(frozenset())
    assert points.is_refused(point, chain)
    host.following.reconsider(frozenset({pair.peer}))
    assert not points.is_refused(point, chain)
    assert is_refused_again()
    host.following.reconsider(frozenset({pair.peer}))
    assert points.is_refused(point, chain)
    host.now += BETWEEN_ATTEMPTS_SECONDS
    host.following.reconsider(frozenset())
    assert not points.is_refused(point, chain)
    assert is_refused_again()
    host.following.reconsider(frozenset({pair.name}))
    assert not points.is_refused(point, chain)

    ip("link", "set", pair.peer, "mtu", "1500")
    host.executor.settle(chain, point, 1)
    assert points.describe(point, chain, desired_generation=1).refusal is None
