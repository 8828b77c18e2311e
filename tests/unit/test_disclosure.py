# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node shows of hook points to those who see all of them, some, or nothing."""

from __future__ import annotations

import msgspec
import pytest

from services.node_executor.attachment import Surroundings
from services.node_executor.disclosure import (
    EVERYBODY,
    Reader,
    Readers,
    RestrictedChainError,
    without_kernels_words,
)
from services.node_executor.generations import ChainMemory, Generation, Point
from services.node_executor.managed_programs import unseen_programs
from services.node_executor.map_reading import MapReading
from services.node_executor.metrics_sampling import metric_values
from services.node_executor.observation import describe_chain
from services.node_executor.observed_hook import ObservedHook
from shared.contracts.desired import Cause, DesiredChain, DesiredNode
from shared.contracts.ebpf import EbpfProgram
from shared.contracts.events import PUBLIC
from shared.contracts.inspection import ChainExplained
from shared.contracts.map_reading import ReadMap
from shared.contracts.node import ChainShown, ObservedChain, ObservedProgram
from shared.errors import Refusal, RefusedError
from tests.support.marked import marked, marks
from tests.unit.test_reconciliation import a_chain, a_program

ACME = "p_acme"
POINT = Point("data0", "xdp")
SECRET = f"{ACME}.quiet-fix"
ANN = Reader(frozenset({PUBLIC, ACME}))


def a_joint_chain(*, audience: str = ACME) -> DesiredChain:
    """A program of everybody's, and one of `p_acme`."""
    chain = a_chain(a_program("edge", order=20), a_program(SECRET, order=10))
    return msgspec.structs.replace(chain, audience=audience)


def a_memory(chain: DesiredChain) -> ChainMemory:
    """Of a hook point that runs it."""
    current = Generation(number=1, pin=1, plan_sha256="", chain=chain, program_id=11)
    return ChainMemory(interface="data0", hook="xdp", current=current)


def readers(chain: DesiredChain | None, remembered: DesiredChain | None = None) -> Readers:
    """A node that was told to run it, and remembers that it runs the other."""
    memory = a_memory(remembered) if remembered else ChainMemory(interface="data0", hook="xdp")
    made = Readers(lambda _: memory)
    if chain is not None:
        told = DesiredNode(node="n1", generation=1, chains=(chain,))
        if chain.audience != PUBLIC:
            told = msgspec.structs.replace(told, members={chain.audience: ("ann",)})
        made.learn(told)
    return made


def a_shown_chain() -> ChainShown:
    """A hook point with something in every field that there is."""
    one = marked(ChainShown, deployment=SECRET, interface="data0", netns="", audience=ACME)
    edge = msgspec.structs.replace(one.chain.programs[0], deployment="edge", reason=SECRET)
    metric = msgspec.structs.replace(one.metrics[0], deployment="edge")
    slot = msgspec.structs.replace(one.counters.slots[0], deployment="edge")
    return msgspec.structs.replace(
        one,
        chain=msgspec.structs.replace(one.chain, programs=(edge, *one.chain.programs)),
        metrics=(metric, *one.metrics),
        counters=msgspec.structs.replace(one.counters, slots=(slot, *one.counters.slots)),
    )


def test_a_member_sees_a_hook_point_as_it_is() -> None:
    """With every field that there is."""
    one = a_shown_chain()

    assert readers(a_joint_chain()).shown("ann", [one]) == (one,)


def test_a_stranger_sees_of_a_joint_chain_what_is_listed_here_and_nothing_else() -> None:
    """The public program whole, without what was said of it beside the other; of that, its slot."""
    (shown,) = readers(a_joint_chain()).shown("bob", [a_shown_chain()])

    assert SECRET not in msgspec.json.encode(shown).decode()
    seen, hidden = shown.chain.programs
    assert hidden == ObservedProgram(
        deployment="",
        revision=0,
        package="",
        version="",
        archive_sha256="",
        program="",
        order=hidden.order,
        restricted=True,
    )
    assert seen.deployment == "edge"
    without_edge = msgspec.structs.replace(shown.chain, programs=())
    assert marks(without_edge) == {
        f"chain.{where}.{what}"
        for where in ("runs_after", "runs_before", "displaced")
        for what in ("program_name", "program_tag")
    } | {"chain.xdp_mode", "chain.refusal.code"}
    assert [one.deployment for one in shown.metrics] == ["edge"]
    assert [one.deployment for one in shown.counters.slots] == ["edge"]


@pytest.mark.parametrize("name", ["bob", ""])
def test_what_runs_counts_as_what_shall_run(name: str) -> None:
    """Taken off by a command that the node has not acted upon, it still is not everybody's."""
    told = msgspec.structs.replace(a_joint_chain(audience=PUBLIC), programs=())

    (shown,) = readers(told, a_joint_chain()).shown(name, [a_shown_chain()])

    assert shown.chain.restricted


def test_once_a_space_is_open_everybody_sees_it_whatever_is_remembered() -> None:
    """The desired record says so by telling its chain to everybody."""
    one = a_shown_chain()
    open_now = a_joint_chain(audience=PUBLIC)

    assert readers(open_now, a_joint_chain()).shown("bob", [one]) == (one,)


def test_who_is_no_member_any_more_sees_nothing_more() -> None:
    """The last record counts."""
    made = readers(a_joint_chain())
    made.learn(
        DesiredNode(node="n1", generation=1, chains=(a_joint_chain(),), members={ACME: ("carl",)})
    )

    (shown,) = made.shown("ann", [a_shown_chain()])

    assert shown.chain.restricted


def test_a_command_of_a_space_is_not_shown_at_a_chain_that_everybody_sees() -> None:
    """As after a restricted program left it."""
    cause = Cause(command_id="command-0001", audience=ACME)
    texts = {"deployment": "edge", "interface": "data0", "netns": "", "audience": PUBLIC}
    chain = msgspec.structs.replace(marked(ChainShown, **texts).chain, cause=cause)
    one = ChainShown(chain=chain)
    public = a_chain(a_program("edge"))

    (shown,) = readers(public, public).shown("bob", [one])

    assert (shown.chain.restricted, shown.chain.cause) == (False, None)
    assert shown.chain.programs == one.chain.programs


def test_metrics_for_whoever_listens_have_no_restricted_program() -> None:
    """Neither its counters nor its own numbers."""
    counted = readers(a_joint_chain()).of("").counted(a_shown_chain())

    assert SECRET not in " ".join(metric_values([counted]))


def test_an_explanation_is_for_those_who_see_the_whole_chain() -> None:
    """Others get the places alone."""
    explained = marked(ChainExplained, deployment=SECRET, interface="data0", netns="")

    shown = EVERYBODY.explained(explained, a_joint_chain())

    assert (shown.explanation, [one.restricted for one in shown.places]) == (None, [True])
    assert SECRET not in msgspec.json.encode(shown).decode()
    assert ANN.explained(explained, a_joint_chain()) == explained


def test_the_place_of_a_probe_is_named_to_those_who_see_its_deployment() -> None:
    """Explained or not, and where places are listed: it is the deployment's name."""
    hidden, open_one = Point(SECRET, "tracepoint"), Point("edge", "tracepoint")
    chain = msgspec.structs.replace(
        a_chain(a_program(SECRET)), interface=SECRET, hook="tracepoint", audience=ACME
    )
    explained = ChainExplained(interface=SECRET, hook="tracepoint", generation=1)

    shown = EVERYBODY.explained(explained, chain)
    unknown = EVERYBODY.unremembered(hidden, problem="not ours")

    assert (shown.interface, shown.hook, shown.generation) == ("", "tracepoint", 1)
    assert (unknown.interface, unknown.problem) == ("", "not ours")
    assert [EVERYBODY.sees_place(one) for one in (hidden, open_one, POINT)] == [False, True, True]
    assert ANN.explained(explained, chain) == explained
    assert ANN.unremembered(hidden, problem="not ours").interface == SECRET
    assert ANN.sees_place(hidden)


def test_places_that_could_be_read_instead_are_those_that_are_seen() -> None:
    """Whoever misspells one is not told the places of hidden probes."""

    class Points:
        """Two probes, and nothing runs."""

        def points(self) -> set[Point]:
            return {Point(SECRET, "tracepoint"), Point("edge", "tracepoint")}

        def memory(self, _point: Point) -> ChainMemory:
            return ChainMemory(interface="no", hook="tracepoint")

        def describe(self, *_: object, **_named: object) -> ObservedChain:
            return ObservedChain(interface="no", hook="tracepoint", state="absent")

    reading = MapReading(node="n1", points=Points(), contents=None)  # type: ignore[arg-type]
    request = ReadMap(interface="no", hook="tracepoint", program="no", map="no")

    told = {}
    for name, reader in (("everybody", EVERYBODY), ("ann", ANN)):
        with pytest.raises(RefusedError) as refused:
            reading.read(request, reader)
        told[name] = refused.value.reasons[0].allowed

    assert told == {
        "everybody": ["edge/tracepoint"],
        "ann": ["edge/tracepoint", f"{SECRET}/tracepoint"],
    }


def test_a_hidden_probe_is_answered_for_as_one_that_is_not_there() -> None:
    """Also to those who know its name."""

    class Memory:
        """One generation runs."""

        def generation_with(self, program_id: int) -> object | None:
            return object() if program_id else None

    class Points:
        """It is at the secret place."""

        def points(self) -> set[Point]:
            return {Point(SECRET, "tracepoint")}

        def memory(self, _point: Point) -> Memory:
            return Memory()

        def describe(self, point: Point, *_: object, **_named: object) -> ObservedChain:
            runs = point.interface == SECRET
            return ObservedChain(
                interface=point.interface, hook="tracepoint", state="absent", program_id=7 * runs
            )

    reading = MapReading(node="n1", points=Points(), contents=None)  # type: ignore[arg-type]

    def answer(place: str) -> list[tuple[str, str, object]]:
        request = ReadMap(interface=place, hook="tracepoint", program="no", map="no")
        with pytest.raises(RefusedError) as refused:
            reading.read(request, EVERYBODY)
        return [(one.path, one.rule, one.allowed) for one in refused.value.reasons]

    assert answer(SECRET) == answer("missing")


def test_packets_are_tried_by_those_who_see_the_whole_chain() -> None:
    """What it does to them would say what is in it."""
    with pytest.raises(RestrictedChainError) as caught:
        EVERYBODY.refuse_unseen(a_joint_chain(), "data0/xdp")

    assert SECRET not in msgspec.json.encode(caught.value.refusal()).decode()
    ANN.refuse_unseen(a_joint_chain(), "data0/xdp")


def test_programs_of_the_kernel_are_known_to_be_of_a_chain_that_is_not_seen() -> None:
    """Those that run, and those that wait."""
    memories = [a_memory(a_joint_chain())]
    staged, chains = {POINT: (21,)}, {POINT: a_joint_chain()}

    assert unseen_programs(memories, staged, chains, EVERYBODY) == {11, 21}
    assert unseen_programs(memories, staged, chains, ANN) == frozenset()


def test_a_program_of_the_kernel_is_shown_without_what_says_which_one_it_is() -> None:
    """Neither name nor tag nor pins nor sizes."""
    shown = without_kernels_words(marked(EbpfProgram))

    assert marks(shown) == {
        "type",
        "role",
        "owners.command",
        "attachments.kind",
        "attachments.target",
    }
    assert (shown.translated_bytes, shown.jited_bytes, shown.map_count) == (0, 0, 0)


def test_why_a_chain_of_a_space_was_refused_is_not_told_once_another_is_desired() -> None:
    """The words stay in memory until something else runs."""
    memory = ChainMemory(
        interface="data0",
        hook="xdp",
        refusal=Refusal(code="verifier_rejected", message=SECRET),
        refused_audience=ACME,
    )

    def told(desired: DesiredChain) -> Refusal | None:
        return describe_chain(
            hook=ObservedHook(interface_index=1),
            memory=memory,
            desired=desired,
            desired_generation=1,
            programs=(),
            surroundings=Surroundings(),
        ).refusal

    public = a_chain(a_program("edge"))
    later = told(public)
    assert later is not None
    assert (later.code, SECRET in later.message) == ("verifier_rejected", False)
    assert told(a_joint_chain()) == told(a_joint_chain(audience=PUBLIC)) == memory.refusal
