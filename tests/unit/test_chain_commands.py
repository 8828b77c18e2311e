# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How chains, their plans and tried packets are shown to people."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console, RenderableType

from cli.chain import NodesShown, not_there
from cli.chain_explain import NodesExplained, render_explained
from cli.chain_places import Place, the_only
from cli.chain_try import differing, gathered, render_tried
from cli.chain_view import packet_rates, render_chains
from cli.node_request import UnknownNodeError, request_of_node
from shared.contracts.inspection import (
    MAX_PACKET_BYTES,
    MAX_PACKETS,
    BodyExplained,
    BytesChange,
    ChainCounters,
    ChainExplained,
    ChainExplanation,
    ChainsExplained,
    ConstraintShown,
    CpuCounters,
    MapChange,
    PacketsTried,
    PacketTried,
    ProgramRan,
    SegmentExplained,
    SlotCounters,
)
from shared.contracts.node import (
    GET_CHAINS,
    ChainShown,
    ChainsShown,
    GetChains,
    HookNeighbour,
    ObservedChain,
    ObservedProgram,
    ObservedSegment,
)
from shared.contracts.scheduler import LIST_NODES
from shared.errors import FaultError, RefusedError
from tests.unit.test_packet_files import OTHER, PACKET, a_pcap


def shown(part: RenderableType) -> str:
    """As it would be printed."""
    text = io.StringIO()
    Console(file=text, width=250).print(part)
    return text.getvalue()


def a_slot(packets: int = 0, **fields: Any) -> SlotCounters:
    """Counters of `edge`."""
    return SlotCounters(deployment="edge", slot=0, packets_in=packets, **fields)


def a_node(counters: ChainCounters, **fields: Any) -> ChainsShown:
    """One node with one chain of one program."""
    program = ObservedProgram(
        deployment="edge",
        revision=3,
        package="rate-limit",
        version="1.2.0",
        archive_sha256="",
        program="rate-limit",
        order=20,
        instructions=77,
        **fields.pop("program", {}),
    )
    chain = ObservedChain(
        interface="eth0",
        hook="xdp",
        state="attached",
        generation=8,
        program_id=41,
        attachment="xdp-native",
        programs=(program,),
        **fields.pop("chain", {}),
    )
    return ChainsShown(node="n1", chains=(ChainShown(chain=chain, counters=counters, **fields),))


def test_counters_are_a_row_of_the_program() -> None:
    """Packets in, the share that went on, packets by verdict, and the mean time if sampled."""
    slot = a_slot(400, verdicts={"pass": 300, "drop": 100}, went_on=300, sampled_ns=90, samples=4)

    text = shown(render_chains(a_node(ChainCounters(slots=(slot,)))))

    assert "n1 eth0/xdp: attached, xdp-native" in text
    (row,) = [line for line in text.splitlines() if "rate-limit 1.2.0" in line]
    for word in ("400", "75.0 %", "pass 300 drop 100", "22.5", "inline", "77"):
        assert word in row


def test_what_nobody_signed_is_said_of_the_chain_that_runs_it() -> None:
    """Above all else that is known of the hook point."""
    said = "NOT VERIFIED (trust mode normal): signed.manifest: nobody"

    text = shown(render_chains(a_node(ChainCounters(), program={"unverified": said})))

    assert f"edge: {said}" in text
    assert "NOT VERIFIED" not in shown(render_chains(a_node(ChainCounters())))


def test_every_segment_and_everybody_on_the_hook_is_shown() -> None:
    """Kernel programs of the chain; owners before and after it; what was displaced."""
    segments = (
        ObservedSegment(
            program_id=41,
            tag="aa",
            verified_instructions=900,
            jited_bytes=500,
            maps_used=12,
            licence="Dual BSD/GPL",
            gpl_compatible=True,
        ),
        ObservedSegment(
            program_id=42, tag="bb", verified_instructions=10, jited_bytes=50, maps_used=1
        ),
    )
    node = a_node(
        ChainCounters(problem="switched off"),
        chain={
            "segments": segments,
            "runs_after": (HookNeighbour(program_id=5, program_name="cilium"),),
            "displaced": HookNeighbour(program_id=6),
            "attachment_reason": "the driver has no XDP",
        },
        program={"mode": "call-global", "reason": "it tail-calls"},
        previous_generation=7,
        previous_kept_until="2026-01-01T01:00:00Z",
    )

    text = shown(render_chains(node))

    assert "before it runs program 5 cilium of another owner" in text
    assert "it displaced program 6" in text
    assert "the driver has no XDP" in text
    assert "generation 8 (generation 7 is kept until 2026-01-01T01:00:00Z)" in text
    assert "edge is linked call-global: it tail-calls" in text
    assert "not counted: switched off" in text
    assert [line.split()[:3] for line in text.splitlines() if line[:2] in ("0 ", "1 ")] == [
        ["0", "41", "aa"],
        ["1", "42", "bb"],
    ]


def test_processors_and_lost_packets_are_shown() -> None:
    """Only where there is something to say."""
    counters = ChainCounters(
        slots=(a_slot(9, verdicts={"pass": 9}),),
        missed=2,
        cpus=(CpuCounters(cpu=3, slots=(a_slot(9, verdicts={"pass": 9}),)),),
    )

    text = shown(render_chains(a_node(counters)))

    assert "2 packets were dropped because the next segment was missing" in text
    assert any(line.split()[:3] == ["3", "edge", "9"] for line in text.splitlines())


def test_rates_need_two_looks_at_the_same_count() -> None:
    """A count that began anew has no rate yet."""
    before = a_node(ChainCounters(slots=(a_slot(100),)))
    after = a_node(ChainCounters(slots=(a_slot(350),)))

    rates = packet_rates(before, after, seconds=2.0)

    assert rates == {("eth0", "xdp", "edge"): 125.0}
    assert packet_rates(after, before, seconds=2.0) == {}
    assert packet_rates(ChainsShown(node="n1", chains=()), after, seconds=2.0) == {}
    assert "125" in shown(render_chains(after, rates))


def test_a_plan_is_explained_with_every_rule() -> None:
    """Segments, programs, what they would need, rules, and what to look at."""
    explanation = ChainExplanation(
        attachment="tcx",
        has_counters=True,
        programs=(
            BodyExplained(
                deployment="edge",
                mode="call-global",
                reason="it tail-calls programs of its own",
                proceed_on=("ok", "pipe"),
                needed_for_inline=("no tail calls",),
            ),
        ),
        segments=(SegmentExplained(why_begun="The chain begins here", layout="calls-only"),),
        constraints=(
            ConstraintShown(rule="own-tail-calls", path="chain[0] edge", effect="call-global"),
        ),
        constraints_left_out=3,
        warnings=("shot is overridden\x1b",),
    )
    chains = (
        ChainExplained(interface="eth0", hook="tc-ingress", generation=4, explanation=explanation),
        ChainExplained(interface="eth1", hook="xdp", source="draft", problem="only entries"),
    )

    text = shown(
        render_explained(NodesExplained(nodes=(ChainsExplained(node="n1", chains=chains),)))
    )

    assert "n1 eth0/tc-ingress, generation 4" in text
    assert "attached by tcx, no frags, counted, 1 kernel program" in text
    assert "begins because the chain begins here" in text
    assert "edge would be inline with:\n    no tail calls" in text
    assert "own-tail-calls" in text
    assert "and 3 rules more" in text
    assert "note: shot is overridden\\x1b" in text
    assert "n1 eth1/xdp, as planned\n  only entries" in text
    assert "no hook is managed" in shown(render_explained(NodesExplained(nodes=())))


def test_a_tried_packet_is_a_line_and_what_it_changed() -> None:
    """Verdict, who decided, the way through the chain, bytes, entries."""
    packet = PacketTried(
        verdict="tx",
        decided_by="edge",
        programs=(
            ProgramRan(deployment="guard", verdict="pass", went_on=True),
            ProgramRan(deployment="edge", verdict="tx", went_on=False),
        ),
        length_before=60,
        length_after=64,
        changes=(BytesChange(offset=12, after="81000007"),),
        changed_places=5,
        map_changes=(MapChange(deployment="edge", map="flows", key="[1,2]", after={"n": 1}),),
        changed_entries=1,
        context={"mark": 7},
    )
    tried = PacketsTried(
        node="n1",
        interface="eth0",
        hook="xdp",
        source="draft",
        programs=("guard", "edge"),
        packets=(packet, PacketTried(length_before=9000, problem="too long for it")),
        notes=("map x starts empty",),
    )

    text = shown(render_tried(tried))

    assert "n1 eth0/xdp, as planned: guard → edge" in text
    assert "packet 1, 60 bytes, now 64: tx by edge   guard pass → edge tx" in text
    assert "beside the packet: mark 7" in text
    assert ["12", "-", "81000007"] in [line.split() for line in text.splitlines()]
    assert "and 4 more places of the packet" in text
    assert any(
        line.split() == ["edge.flows", "[1,2]", "-", '{"n":1}'] for line in text.splitlines()
    )
    assert "packet 2, 9000 bytes: not run: too long for it" in text
    assert "note: map x starts empty" in text


def test_of_a_struct_only_members_that_changed_are_printed() -> None:
    """All are in the JSON."""
    before: dict[str, Any] = {"total": 100, "lock": 0, "count": [1, 2, 3]}
    after = {"total": 1, "lock": 0, "count": [1, 0, 3]}

    assert differing(before, after) == ({"total": 100, "count[1]": 2}, {"total": 1, "count[1]": 0})
    assert differing(None, after) == (None, after)
    assert differing([1], [2]) == ([1], [2])


def test_packets_are_gathered_in_the_order_of_their_sources(tmp_path: Path) -> None:
    """Files and text mixed; all together are limited."""
    capture = tmp_path / "one.pcap"
    capture.write_bytes(a_pcap(PACKET, OTHER))
    many = tmp_path / "many.pcap"
    many.write_bytes(a_pcap(*[OTHER] * MAX_PACKETS))

    packets = gathered([str(capture), OTHER.hex()])

    assert [packet.data for packet in packets] == [PACKET, OTHER, OTHER]
    with pytest.raises(RefusedError, match="more packets") as caught:
        gathered([str(many), OTHER.hex()])
    assert caught.value.refusal_code == "too_large"
    assert len(gathered([str(many), OTHER.hex()], first=2)) == 3
    with pytest.raises(RefusedError, match="No such file"):
        gathered([str(tmp_path / "none.pcap")])


def test_a_place_has_to_be_chosen_where_there_are_several() -> None:
    """They are named."""
    one, other = Place("n1", "eth0", "xdp"), Place("n2", "eth0", "xdp")

    assert the_only([one], what="running chain") == one
    with pytest.raises(RefusedError, match="choose one") as caught:
        the_only([one, other], what="running chain")
    assert caught.value.reasons[0].allowed == ["n1 eth0/xdp", "n2 eth0/xdp"]
    with pytest.raises(RefusedError, match="there is no running chain"):
        the_only([], what="running chain")
    with pytest.raises(RefusedError, match="in the place that was asked for") as caught:
        the_only([], what="running chain", among=[one])
    assert caught.value.reasons[0].allowed == ["n1 eth0/xdp"]


def test_packets_as_text_may_be_as_long_as_packets_are() -> None:
    """Text that no path can be is never looked for as a file."""
    (packet,) = gathered([bytes(MAX_PACKET_BYTES).hex()])

    assert len(packet.data) == MAX_PACKET_BYTES
    (short,) = gathered([bytes(200).hex()])
    assert len(short.data) == 200


def test_less_than_no_packets_cannot_be_asked_for() -> None:
    """The refusal names the option, not the file."""
    with pytest.raises(RefusedError, match="--first"):
        gathered([OTHER.hex()], first=-1)


def test_a_place_without_a_chain_is_refused_with_the_places_that_have_one() -> None:
    """And with words where there is none at all."""
    node = a_node(ChainCounters())

    refused, nothing = not_there(NodesShown(nodes=(node,))), not_there(NodesShown(nodes=()))

    one = node.chains[0].chain
    assert refused.refusal_code == nothing.refusal_code == "not_found"
    assert refused.reasons[0].allowed == [f"{node.node} {one.place}/{one.hook}"]
    assert nothing.reasons[0].allowed == "no hook is managed"


class NodesThatAnswer:
    """A bus on which the scheduler answers, if it does, and no node."""

    def __init__(self, known: tuple[str, ...] | None) -> None:
        self._known = known

    async def request(self, endpoint: Any, _request: Any, **_: Any) -> Any:
        """The list of nodes, or nobody's answer."""
        if endpoint is LIST_NODES and self._known is not None:
            nodes = [SimpleNamespace(node=name) for name in self._known]
            return SimpleNamespace(nodes=nodes, has_more=False)
        raise FaultError("nobody answers")


async def test_a_node_that_never_was_is_told_from_one_that_is_silent() -> None:
    """The scheduler knows; without it, nothing is claimed."""

    async def asked(known: tuple[str, ...] | None) -> Exception:
        bus: Any = NodesThatAnswer(known)
        with pytest.raises((RefusedError, FaultError)) as caught:
            await request_of_node(bus, GET_CHAINS, "n1", GetChains())
        return caught.value

    unknown = await asked(("n2", "n3"))
    assert isinstance(unknown, UnknownNodeError)
    assert (unknown.refusal_code, unknown.reasons[0].allowed) == ("not_found", ["n2", "n3"])
    for known in (("n1", "n2"), None):
        assert isinstance(await asked(known), FaultError)
