# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A fix under embargo, from its publication to its day, beside somebody who must not know of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from demo.small_package import write_package
from demo.stage import Answer, Stage

SECRET = "quiet-fix"
SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "Dual BSD/GPL";
SEC("xdp") int quiet_fix(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data > 1400 ? XDP_DROP : XDP_PASS;
}
"""
DEADLINE_SECONDS = 60.0


def _until(is_so: Callable[[], bool]) -> None:
    deadline = monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert monotonic() < deadline
        sleep(0.05)


def test_a_fix_runs_under_embargo_and_is_everybodys_on_its_day(
    system: Stage, tmp_path: Path, deployment_text: Callable[..., str]
) -> None:
    """Beside a stranger's deployment, which goes on; every command of the stranger is searched."""
    space = system.must("space", "create", "--embargo", "--title", "a CVE")["space"]
    folder = write_package(tmp_path, name=SECRET, source=SOURCE)
    system.must("package", "publish", str(folder), "--space", space)
    text = deployment_text(
        name=f'"{SECRET}"', package=f'"{SECRET}"', program="", version="", space=f'"{space}"'
    )
    system.must("deploy", str(system.document("quiet.toml", text)))
    bob = system.must("principal", "add", "bob", "--role", "operator")["credentials"]

    def asked_by_bob(*words: str) -> Answer:
        return system.l3af(*words, "--credentials", bob)

    beside = system.document("beside.toml", deployment_text(name='"beside"', order="20"))
    assert asked_by_bob("deploy", str(beside)).status == 0
    key = f"{space}.{SECRET}"
    shown = {
        words: asked_by_bob(*words)
        for words in (
            ("status",),
            ("deploy", str(beside), "--dry-run"),
            ("chain", "show", "host-1"),
            ("chain", "explain", "--node", "host-1"),
            ("node", "show", "host-1"),
            ("status", key),
            ("undeploy", key),
        )
    }
    members = system.must("status", key)
    system.must("space", "lift", space, "--reason", "the fix is out")
    _until(lambda: "restricted" not in json.dumps(asked_by_bob("chain", "show", "host-1").output))
    after: Any = asked_by_bob("status", key).output

    words_of_it = (SECRET, SECRET.replace("-", "_"))
    for words, answer in shown.items():
        if key in words:
            assert (answer.status, answer.output["code"]) == (2, "not_found"), words
            continue
        assert answer.status == 0, (words, answer)
        assert not [one for one in words_of_it if one in json.dumps(answer.output)], words
    (chain,) = shown["chain", "show", "host-1"].output["chains"]
    assert [
        (one["deployment"], one.get("restricted", False)) for one in chain["chain"]["programs"]
    ] == [("", True), ("beside", False)]
    assert [place["state"] for place in members["places"]] == ["running"]
    assert [place["state"] for place in after["places"]] == ["running"]
    assert after["revision"] == 1
