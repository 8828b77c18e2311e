# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af policy rollout`: a file is tried, set, shown, and seen in plans."""

from __future__ import annotations

import json
from pathlib import Path

from shared.contracts.permissions import Role
from tests.fleets import a_spec
from tests.support.command_line import Answer, run_l3af
from tests.support.scheduler_system import System, system

__all__ = ["system"]

POLICY = """\
apiVersion = "l3af/v1"
[[rules]]
name = "year-end"
reason = "nobody is in the office"
[[rules.freezes]]
start = 2026-01-01T00:00:00Z
duration_seconds = 31622400
[[rules]]
name = "eyes"
approvals = 1
[rules.deployments]
packages = ["rate-*"]
"""
WRONG = """\
rules:
- name: year-end
  freezes:
  - cron: every day
    duration_seconds: 60
    time_zone: Mars/Olympus
"""


async def _l3af(system: System, *words: str, role: Role = "administrator") -> Answer:
    credentials = system.buses.server.credentials(role)
    return await run_l3af("policy", "rollout", *words, credentials=credentials)


async def test_a_policy_is_tried_set_and_shown(system: System, tmp_path: Path) -> None:
    """What is under `policy` of what is shown is a policy again."""
    await system.catalog()
    await system.node("n1")
    await system.apply(a_spec())
    file = tmp_path / "policy.toml"
    file.write_text(POLICY)
    at = "2026-06-01T12:00:00Z"

    tried = await _l3af(system, "test", str(file), "--at", at, role="operator")
    done = await _l3af(system, "set", str(file), "--if-generation", "0", "--reason", "rest")
    known = await _l3af(system, "show", "--json", role="viewer")
    file.with_suffix(".json").write_text(json.dumps(known.document["policy"]))
    again = await _l3af(system, "set", str(file.with_suffix(".json")))
    shown = await _l3af(system, "show", role="viewer")

    assert "year-end, eyes" in tried.output
    assert "nobody is in the office" in tried.output
    assert (done.status, done.message) == (0, "")
    assert "generation 1" in done.output
    assert known.document["reason"] == "rest"
    assert "generation 2" in again.output
    assert "year-end: nobody is in the office" in shown.output


async def test_what_is_wrong_with_a_policy_is_said_by_its_path(
    system: System, tmp_path: Path
) -> None:
    """All of it at once, and who may not set one is told so."""
    file = tmp_path / "policy.yaml"
    file.write_text(WRONG)
    refused = await _l3af(system, "set", str(file))
    assert refused.status == 2
    assert "policy.rules[0].freezes[0].cron: has five fields" in refused.message
    assert "policy.rules[0].freezes[0].time_zone" in refused.message
    assert "tzdata" in refused.message
    file.write_text("rules: []")
    stranger = await _l3af(system, "set", str(file), role="operator")
    assert stranger.status == 2
