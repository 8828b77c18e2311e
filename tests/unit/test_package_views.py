# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What packages state, as people read it."""

from __future__ import annotations

from rich.console import Console, RenderableType

from cli.chain_explain import NodesExplained, render_explained
from cli.package_statements import program_table, statement_facts
from cli.plan_view import render_plan
from shared.contracts.inspection import (
    BodyExplained,
    ChainExplained,
    ChainExplanation,
    ChainsExplained,
    PlaceExplained,
)
from shared.contracts.package_manifest import Needs, SourceLocation
from shared.contracts.planned_chains import PlannedChain, ProgramPlace
from shared.contracts.scheduler import DeploymentPlan
from tests.package_builders import a_manifest, a_program


def printed(what: RenderableType) -> str:
    """The words, on one wide screen."""
    console = Console(width=200, force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_everything_that_a_package_states_is_shown() -> None:
    """Owners, sources, licences and files of groups, needs."""
    manifest = a_manifest(
        owners=("kim", "net"),
        source=SourceLocation(repository="https://git.example.org/one", revision="v1", path="one"),
        licences={"docs": "CC-BY-4.0"},
        file_groups={"docs": ("*.md",)},
        needs=Needs(kernel=">=6", features=("tcx", "btf")),
    )

    assert statement_facts(manifest) == {
        "licence of docs": "CC-BY-4.0",
        "files of docs": "*.md",
        "owners": "kim, net",
        "source": "https://git.example.org/one at v1, one",
        "needs": "kernel >=6, tcx, btf",
    }
    assert statement_facts(a_manifest()) == {"owners": "not stated", "source": "not stated"}


def test_programs_are_shown_with_place_platforms_and_flags() -> None:
    """What decides where a program runs stands beside it."""
    programs = (
        a_program(order=7, flags=("frags",), object="", objects={"linux-aarch64": "a.o"}),
        a_program(name="two", objects={"linux-x86_64": "b.o"}),
        a_program(name="three"),
    )

    table = printed(program_table(a_manifest(programs=programs)))
    rows = [line.split() for line in table.splitlines() if " xdp " in line]

    assert [" ".join(row).replace("│", "|") for row in rows] == [
        "| one | one | xdp | the hook's default | 7 | linux-aarch64 | frags |",
        "| two | one | xdp | the hook's default | not stated | linux-x86_64, others | |",
        "| three | one | xdp | the hook's default | not stated | every one | |",
    ]


def test_plans_and_explanations_say_whose_word_an_order_is() -> None:
    """The package's is marked; the deployment's is not."""
    places = [("mine", False), ("theirs", True)]
    plan = DeploymentPlan(
        deployment="mine",
        version="1.0.0",
        archive_sha256="",
        chains=(
            PlannedChain(
                node="n1",
                interface="eth0",
                hook="xdp",
                programs=tuple(
                    ProgramPlace(
                        deployment=name,
                        package=name,
                        version="1.0.0",
                        order=10 * number,
                        has_packages_order=has_packages_order,
                        proceed_on=("pass",),
                        change="added",
                    )
                    for number, (name, has_packages_order) in enumerate(places, start=1)
                ),
            ),
        ),
    )
    explained = ChainExplained(
        interface="eth0",
        hook="xdp",
        explanation=ChainExplanation(
            programs=tuple(
                BodyExplained(deployment=name, mode="inline", reason="so") for name, _ in places
            )
        ),
        places=tuple(
            PlaceExplained(deployment=name, order=10 * number, has_packages_order=has)
            for number, (name, has) in enumerate(places, start=1)
        ),
    )
    shown = NodesExplained(nodes=(ChainsExplained(node="n1", chains=(explained,)),))

    for words in (printed(render_plan(plan)), printed(render_explained(shown))):
        orders = {
            name: line
            for line in words.splitlines()
            for name, _ in places
            if f" {name} " in f" {line} "
        }
        assert "20 (package)" in orders["theirs"]
        assert "(package)" not in orders["mine"]
