# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Known faults of what operators write: each row is shown on a whole system, by packets."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.stage import ROOT, Answer, Stage
from tests.support.known_faults import Fault, table, xdp_program

PORT = 80
SENT = 40
LIMIT = 5
"""New connections a second, of the rate limit that runs."""


class Bench:
    """A system whose first host counts and limits connections."""

    def __init__(self, stage: Stage, text: Callable[..., str], folder: Path) -> None:
        self.stage, self.text, self.folder = stage, text, folder
        self.added: list[str] = []

    def deploy(self, *words: str, **changes: str) -> Answer:
        """The deployment is asked for."""
        path = self.stage.document("fault.toml", self.text(**changes))
        return self.stage.l3af("deploy", str(path), *words)

    def must_deploy(self, **changes: str) -> None:
        """The deployment runs."""
        answer = self.deploy(**changes)
        assert answer.status == 0, answer

    def chains(self) -> dict[str, list[str]]:
        """Hook point to its deployments and versions, read from the kernel."""
        shown = self.stage.must("chain", "show", "host-1")["chains"]
        return {
            f"{one['chain']['interface']}/{one['chain']['hook']}": [
                f"{program['deployment']} {program['version']}"
                for program in one["chain"]["programs"]
            ]
            for one in shown
            if one["chain"].get("programs")
        }

    def kernel(self) -> list[tuple[int, int]]:
        """Programs and links of the host."""
        shown = self.stage.must("chain", "show", "host-1")["chains"]
        chains = [one["chain"] for one in shown if one["chain"].get("program_id")]
        return [(chain["program_id"], chain["link_id"]) for chain in chains]

    def seen_by_ip(self, interface: str) -> int:
        """The program that `ip` sees on an interface of the host; 0: none."""
        return xdp_program(interface, within=self.stage.lab.hosts[0].command())

    def counted(self, deployment: str) -> int:
        """What the programs of a deployment counted on the host so far, read from their maps."""
        shown = self.stage.must("chain", "show", "host-1")["chains"]
        return sum(
            metric.get("value") or 0
            for one in shown
            for metric in one.get("metrics", [])
            if metric["deployment"] == deployment
        )

    def is_limiting(self) -> bool:
        """Whether packets are dropped, and not all of them."""
        host = self.stage.lab.hosts[0]
        measured = self.stage.measure(host, ports=(PORT,), rate=400, count=SENT)
        return 0 < measured.passed_count < measured.sent_count

    def unchanged_by(self, ask: Callable[[], Answer], code: str) -> Answer:
        """The answer, which is a refusal with that code; kernel and packets are as before."""
        before, counted = self.kernel(), self.counted("count")
        answer = ask()
        assert answer.status == 2, answer
        assert answer.output["code"] == code, answer.output
        assert self.kernel() == before
        assert self.seen_by_ip("data0") == before[0][0]
        assert self.is_limiting()
        assert self.counted("count") >= counted + SENT
        return answer


@pytest.fixture
def bench(system: Stage, deployment_text: Callable[..., str], tmp_path: Path) -> Iterator[Bench]:
    """`count` and `limit` run on host-1, data0/xdp, and nothing else of ours."""
    made = Bench(system, deployment_text, tmp_path)
    if not made.chains():
        made.must_deploy()
        limit = {"package": '"rate-limit"', "program": "", "order": "20"}
        config = f"\n[config.rl_limits]\n{PORT} = {LIMIT}"
        made.must_deploy(name='"limit"', nodes='{ names = ["host-1"] }' + config, **limit)
    yield made
    for name in made.added:
        system.must("undeploy", name)


def _missing_version(bench: Bench) -> None:
    answer = bench.unchanged_by(lambda: bench.deploy(version='"=9.9.9"'), "version_unsatisfied")
    assert "9.9.9" in str(answer.output)


def _left_out(bench: Bench) -> None:
    bench.added.append("also")
    bench.must_deploy(name='"also"', interfaces='["data0", "mgmt0"]', order="30")
    assert bench.chains()["mgmt0/xdp"] == ["also 1.0.0"]

    planned = bench.deploy("--dry-run", name='"also"', order="30")
    assert "mgmt0" in str(planned.output)
    assert bench.chains()["mgmt0/xdp"] == ["also 1.0.0"], "a plan changes nothing"
    bench.must_deploy(name='"also"', order="30")

    assert bench.chains() == {"data0/xdp": ["count 1.0.0", "limit 1.0.0", "also 1.0.0"]}
    assert bench.seen_by_ip("mgmt0") == 0
    assert bench.seen_by_ip("data0") == bench.kernel()[0][0]
    counted = bench.counted("count")
    assert bench.is_limiting()
    assert bench.counted("count") >= counted + SENT


def _nothing(bench: Bench) -> None:
    empty = bench.stage.document("empty.toml", "")
    bench.unchanged_by(lambda: bench.stage.l3af("deploy", str(empty)), "invalid_request")
    bench.unchanged_by(lambda: bench.deploy(interfaces="[]"), "invalid_request")


def _another_interface(bench: Bench) -> None:
    before = bench.kernel()
    bench.added.append("other")

    bench.must_deploy(name='"other"', interfaces='["mgmt0"]')

    assert bench.chains() == {
        "data0/xdp": ["count 1.0.0", "limit 1.0.0"],
        "mgmt0/xdp": ["other 1.0.0"],
    }
    assert set(before) <= set(bench.kernel())
    assert (bench.seen_by_ip("data0"), bench.seen_by_ip("mgmt0") > 0) == (before[0][0], True)
    counted = bench.counted("count")
    assert bench.is_limiting()
    assert bench.counted("count") >= counted + SENT
    assert bench.counted("other") > 0, "the host itself is reached through mgmt0"


def _same_version_other_content(bench: Bench) -> None:
    folder = bench.folder / "port-count"
    shutil.copytree(ROOT / "packages" / "port-count", folder)
    manifest = folder / "package.toml"
    manifest.write_text(manifest.read_text().replace("summary = ", 'summary = "Other. " #', 1))

    bench.unchanged_by(lambda: bench.stage.l3af("package", "publish", str(folder)), "conflict")


def _place_taken_twice(bench: Bench) -> None:
    answer = bench.unchanged_by(lambda: bench.deploy(name='"second"'), "conflict")
    assert "count" in str(answer.output)


def _unknown_name(bench: Bench) -> None:
    answer = bench.unchanged_by(lambda: bench.stage.l3af("undeploy", "nobody"), "not_found")
    assert "nobody" in str(answer.output)


FAULTS = {
    "missing-version": Fault(
        "a version that the repository does not have",
        "stops the program, answers 500, and shows the missing version as enabled",
        "refused by name before anything is touched; packets are limited as before",
        _missing_version,
    ),
    "left-out": Fault(
        "a deployment that no longer names one of its interfaces",
        "compares with an IP address, so what is left out goes on running",
        "the plan shows it in advance; then it is taken off, and the rest stays",
        _left_out,
    ),
    "nothing": Fault(
        "an empty document, or a list of no interfaces",
        "takes everything off the node and answers 200",
        "refused; what shall go is removed by its name",
        _nothing,
    ),
    "another-interface": Fault(
        "a program for a second interface",
        "forgets the first one, whose programs go on with nobody to manage them",
        "each hook point is its own; the first is not touched and still shown",
        _another_interface,
    ),
    "same-version-other-content": Fault(
        "other content under a version that was published",
        "keeps what it once fetched, so two nodes run different programs of one version",
        "refused: a version has one digest for ever",
        _same_version_other_content,
    ),
    "place-taken-twice": Fault(
        "a second program for a place of the chain",
        "ignores it and answers 200",
        "refused as a conflict that names who has the place",
        _place_taken_twice,
    ),
    "unknown-name": Fault(
        "the removal of a name that does not exist",
        "answers 200",
        "refused as not found",
        _unknown_name,
    ),
}


@table(FAULTS)
def test_what_operators_write_does_what_it_should(
    bench: Bench, fault: Fault[Callable[[Bench], Any]]
) -> None:
    """See the table."""
    fault.shows(bench)
