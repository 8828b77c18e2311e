# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The chapters, in order.  Each does something with the product's own commands and checks it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any, Final

from demo.narration import Narrator
from demo.stage import ROOT, Measured, Stage, StageError
from demo.wording import counts, essence, record_row

CHAPTERS: Final = 10
LIMIT: Final = 100
RAISED_LIMIT: Final = 300
RATE: Final = 500
BURST: Final = 950
"""1.9 seconds at RATE: two windows of one second cover the burst."""
LEAST: Final = 31 / 32
"""What the sliding window lets through at least under steady overload, as its README states."""
OLD_RULE: Final = "if (!tcp->syn || tcp->ack)"
NEW_RULE: Final = "if (!tcp->syn || tcp->ack || tcp->rst)"
"""Version 1.1.0 does not count a SYN that resets at once."""
FREE_PORT: Final = 8080
LIMITED_PORT: Final = 80

COUNT_DEPLOYMENT: Final = """\
name = "count"
package = "port-count"
version = "^1.0"
program = "port-count"
hook = "xdp"
interfaces = ["data0"]
order = 10
[nodes.labels]
role = "edge"
"""
LIMIT_DEPLOYMENT: Final = """\
name = "limit"
package = "rate-limit"
version = "{version}"
hook = "xdp"
interfaces = ["data0"]
order = 20
[nodes.labels]
role = "edge"
[config.rl_limits]
{port} = {limit}
"""


class Story:
    """Tells the chapters on a stage whose services run."""

    def __init__(self, stage: Stage, narrator: Narrator) -> None:
        self._stage = stage
        self._narrator = narrator
        self._edge = stage.lab.hosts[0]
        self._node = "host-1"

    def tell(self) -> None:
        """All chapters."""
        self.nodes()
        self.packages()
        self.before()
        self.deploy()
        self.change_live()
        self.upgrade()
        self.roll_back()
        self.refusals()
        self.audit()
        self.clean_up()

    def nodes(self) -> None:
        """Who is there."""
        self._narrator.step(
            "The fleet", "Each test host runs a node executor that registered by itself, over TLS."
        )
        nodes = self._stage.must("node", "list")["nodes"]
        self._narrator.table(
            ["node", "alive", "kernel", "interfaces"],
            [
                [
                    node["node"],
                    "yes" if node["alive"] else "no",
                    node["record"]["kernel"],
                    " ".join(i["name"] for i in node["record"]["interfaces"] if i["name"] != "lo"),
                ]
                for node in nodes
            ],
        )
        self._narrator.claim(
            "every host of the lab has registered and is alive",
            len(nodes) == len(self._stage.lab.hosts) and all(node["alive"] for node in nodes),
        )
        self._stage.must("node", "label", self._node, "role=edge")

    def packages(self) -> None:
        """Two packages are built, signed and published."""
        self._narrator.step(
            "Publish two eBPF packages",
            "Compiled, read without loading, signed over a manifest of every file's digest.",
        )
        rows = []
        for name in ("port-count", "rate-limit"):
            published = self._stage.must("package", "publish", str(ROOT / "packages" / name))
            shown = self._stage.must("package", "show", name, show=False)["package"]
            elf = shown["elf"][0]
            rows.append(
                [
                    name,
                    shown["version"],
                    shown["manifest"]["licence"],
                    elf["licence"],
                    published["archive_sha256"][:16],
                ]
            )
        self._narrator.table(["package", "version", "SPDX", "ELF licence", "archive sha256"], rows)
        self._narrator.claim("both are in the catalog, channel stable", len(rows) == 2)

    def before(self) -> None:
        """Nothing is limited yet."""
        self._narrator.step(
            "Traffic before",
            f"{BURST} real TCP SYNs, {RATE} a second, to port {LIMITED_PORT}.",
        )
        measured = self._burst()
        self._narrator.claim(
            "all SYNs pass", measured.passed_count == measured.sent_count, seen=counts(measured)
        )

    def deploy(self) -> None:
        """Two deployments become one chain."""
        self._narrator.step(
            "Deploy a chain",
            "Two deployments meet on one hook: they are linked into ONE verified kernel program.",
        )
        count = self._stage.document("count.toml", COUNT_DEPLOYMENT)
        limit = self._limit_document("^1.0, <1.1", LIMIT)
        self._stage.must("deploy", str(count))
        self._stage.must("deploy", str(limit))
        chain = self._chain()
        self._show_chain(chain)
        self._narrator.claim(
            "the kernel runs one program that holds both, in order",
            [p["deployment"] for p in chain["chain"]["programs"]] == ["count", "limit"],
            seen=f"program {chain['chain']['program_id']}, tag {chain['chain']['program_tag']}",
        )
        before = self._metrics()
        measured = self._burst()
        after = self._metrics()
        self._claim_limited(measured, before, after, limit=LIMIT)

    def change_live(self) -> None:
        """A new limit, no new program."""
        self._narrator.step(
            "Change the limit live", "Only map entries change: the linked program stays the same."
        )
        program = self._chain()["chain"]["program_id"]
        self._stage.must("deploy", str(self._limit_document("^1.0, <1.1", RAISED_LIMIT)))
        self._narrator.claim(
            "nothing was linked anew",
            self._chain()["chain"]["program_id"] == program,
            seen=f"still program {program}",
        )
        before = self._metrics()
        measured = self._burst()
        self._claim_limited(measured, before, self._metrics(), limit=RAISED_LIMIT)

    def upgrade(self) -> None:
        """Version 1.1.0 replaces 1.0.0 while packets flow."""
        self._narrator.step(
            "Upgrade one program under traffic",
            "The new generation is loaded beside the running one, then swapped by one link update.",
        )
        self._stage.must("package", "publish", str(self._next_version()))
        self._swap_under_traffic(
            "upgrade", ["deploy", str(self._limit_document("^1.1", RAISED_LIMIT))], "1.1.0"
        )

    def roll_back(self) -> None:
        """Back to 1.0.0, and its old limit."""
        self._narrator.step(
            "Roll back", "The previous generation is still loaded: one link update brings it back."
        )
        self._swap_under_traffic("rollback", ["rollback", "limit"], "1.0.0")
        before = self._metrics()
        self._claim_limited(self._burst(), before, self._metrics(), limit=RAISED_LIMIT)

    def refusals(self) -> None:
        """What is wrong is refused, and changes nothing."""
        self._narrator.step(
            "Things that must not work", "Each is refused with every reason, and nothing changes."
        )
        before = self._chain()["chain"]
        out_of_range = self._limit_document("^1.0", LIMIT, port=70000, name="port-70000.toml")
        same_place = self._stage.document(
            "same-place.toml", COUNT_DEPLOYMENT.replace('"count"', '"other"', 1)
        )
        unknown = self._stage.document(
            "unknown.toml", COUNT_DEPLOYMENT.replace('"port-count"', '"no-such-package"', 1)
        )
        tampered = self._tampered_archive()
        for title, words in (
            ("a port that does not exist", ["deploy", str(out_of_range)]),
            ("two programs in one place", ["deploy", str(same_place)]),
            ("a package nobody published", ["deploy", str(unknown)]),
            ("an archive with one byte changed", ["package", "publish", str(tampered)]),
        ):
            answer = self._stage.l3af(*words)
            self._narrator.quote(essence(answer.output, answer.message))
            self._narrator.claim(f"{title} is refused", answer.status == 2)
        after = self._chain()["chain"]
        self._narrator.claim(
            "the chain is untouched",
            (after["program_id"], after["generation"])
            == (before["program_id"], before["generation"]),
        )

    def audit(self) -> None:
        """Who did all that, and the proof."""
        self._narrator.step(
            "Ask the audit log", "Every step is one leaf of a Merkle tree with a signed head."
        )
        records = self._stage.must("audit", "log", "--limit", "200")["records"]
        deploys = [r for r in records if r["event"]["data"]["action"].startswith("deployment.")]
        self._narrator.table(
            ["record", "time", "action", "outcome", "what", "who"],
            [record_row(record) for record in reversed(deploys)],
        )
        attested = all(
            r["event"]["data"]["actor"]["attested"]
            for r in deploys
            if r["event"]["data"]["action"] != "deployment.complete"
        )
        self._narrator.claim("the server vouched for the key behind every command", attested)
        record = next(r for r in deploys if r["event"]["data"]["action"] == "deployment.rollback")
        bundle = self._stage.folder / "proof.json"
        self._stage.must("audit", "prove", str(record["index"]), "--out", str(bundle))
        verified = self._stage.l3af("audit", "verify", str(bundle))
        self._narrator.claim("the proof of the rollback verifies offline", verified.status == 0)
        forged = json.loads(bundle.read_text())
        forged["event"]["data"]["actor"]["key"] = "U" + "A" * 55
        forged_file = self._stage.folder / "forged.json"
        forged_file.write_text(json.dumps(forged))
        answer = self._stage.l3af("audit", "verify", str(forged_file))
        self._narrator.quote(essence(answer.output, answer.message))
        self._narrator.claim("a proof with another name in it does not", answer.status == 2)

    def clean_up(self) -> None:
        """Everything off the hook again."""
        self._narrator.step("Undeploy", "The hook is free again, and traffic is as before.")
        self._stage.must("undeploy", "limit")
        self._stage.must("undeploy", "count")
        measured = self._burst()
        self._narrator.claim(
            "all SYNs pass again",
            measured.passed_count == measured.sent_count,
            seen=counts(measured),
        )

    def _burst(self) -> Measured:
        with self._narrator.waiting("sending and counting packets"):
            return self._stage.measure(self._edge, ports=(LIMITED_PORT,), rate=RATE, count=BURST)

    def _chain(self) -> dict[str, Any]:
        shown = self._stage.must("chain", "show", self._node, show=False)
        chain: dict[str, Any] = next(
            c for c in shown["chains"] if c["chain"]["interface"] == "data0"
        )
        return chain

    def _metrics(self) -> dict[str, int]:
        return {
            metric["metric"]: metric.get("value", 0)
            for metric in self._chain()["metrics"]
            if metric["deployment"] == "limit"
        }

    def _show_chain(self, shown: dict[str, Any]) -> None:
        self._narrator.command(["l3af", "chain", "show", self._node])
        self._narrator.table(
            ["order", "deployment", "package", "version", "linked", "instructions"],
            [
                [
                    p["order"],
                    p["deployment"],
                    p["package"],
                    p["version"],
                    p.get("mode", "inline"),
                    p.get("instructions", 0),
                ]
                for p in shown["chain"]["programs"]
            ],
        )

    def _limit_document(
        self, version: str, limit: int, *, port: int = LIMITED_PORT, name: str = "limit.toml"
    ) -> Path:
        text = LIMIT_DEPLOYMENT.format(version=version, port=port, limit=limit)
        return self._stage.document(name, text)

    def _claim_limited(
        self, measured: Measured, before: dict[str, int], after: dict[str, int], *, limit: int
    ) -> None:
        passed, sent = measured.passed_count, measured.sent_count
        windows = math.ceil(measured.sent.seconds)
        most, least = limit * windows, math.floor(limit * measured.sent.seconds * LEAST)
        self._narrator.claim(
            f"with {limit} a second, {least} to {most} of {sent} pass and the rest is dropped",
            least <= passed <= most,
            seen=counts(measured),
        )
        received = after["received"] - before["received"]
        dropped = after["dropped"] - before["dropped"]
        self._narrator.claim(
            "the program counted exactly what the wire shows",
            received == sent and dropped == sent - passed,
            seen=f"program: {received} received, {dropped} dropped",
        )

    def _next_version(self) -> Path:
        folder = self._stage.folder / "rate-limit-1.1.0"
        shutil.copytree(ROOT / "packages" / "rate-limit", folder)
        manifest = folder / "package.toml"
        text = manifest.read_text()
        if 'version = "1.0.0"' not in text:
            raise StageError("packages/rate-limit is not version 1.0.0")
        manifest.write_text(text.replace('version = "1.0.0"', 'version = "1.1.0"'))
        source = folder / "rate_limit.bpf.c"
        source.write_text(source.read_text().replace(OLD_RULE, NEW_RULE))
        return folder

    def _swap_under_traffic(self, what: str, words: list[str], version: str) -> None:
        """Steady traffic to a limited and to a free port: what is not lost and not unfiltered."""
        generation = self._chain()["chain"]["generation"]
        before = self._metrics()
        with self._stage.steady_traffic(
            self._edge, ports=(FREE_PORT, LIMITED_PORT), rate=2000, count=6000
        ) as measured:
            self._stage.must(*words)
            chain = self._chain()["chain"]
        after = self._metrics()
        seen = measured[0]
        limit = next(p for p in chain["programs"] if p["deployment"] == "limit")
        self._narrator.claim(
            f"the kernel runs {version} now",
            limit["version"] == version,
            seen=f"generation {generation} to {chain['generation']}",
        )
        free_sent, free_passed = seen.sent_to(FREE_PORT), seen.passed_to(FREE_PORT)
        self._narrator.claim(
            f"no packet was lost during the {what}",
            free_passed == free_sent,
            seen=f"port {FREE_PORT}: {free_sent} sent, {free_passed} arrived",
        )
        sent, passed = seen.sent_to(LIMITED_PORT), seen.passed_to(LIMITED_PORT)
        received = after["received"] - before["received"]
        dropped = after["dropped"] - before["dropped"]
        self._narrator.claim(
            "and none passed unfiltered: both versions together counted every one",
            received == sent and dropped == sent - passed,
            seen=f"port {LIMITED_PORT}: {sent} sent, {passed} arrived; {received} received,"
            f" {dropped} dropped",
        )

    def _tampered_archive(self) -> Path:
        path = self._stage.folder / "port-count-tampered.l3afpkg"
        self._stage.must(
            "package",
            "build",
            str(ROOT / "packages" / "port-count"),
            "--out",
            str(path),
            show=False,
        )
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
        return path
