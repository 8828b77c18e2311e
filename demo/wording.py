# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How the story words what it saw: counts, refusals, records."""

from __future__ import annotations

from typing import Any

from demo.stage import Measured


def counts(measured: Measured) -> str:
    """Both ends of one burst."""
    return f"{measured.sent_count} sent, {measured.passed_count} arrived"


def essence(output: Any, message: str) -> str:
    """A refusal in a few lines: code, message and the first reasons."""
    if isinstance(output, dict) and "message" in output:
        reasons = [
            f"{reason.get('path', '')}: {reason.get('rule', '')}"
            for reason in output.get("reasons", [])
        ]
        return "\n".join([f"{output.get('code', '')}: {output['message']}", *reasons[:3]])
    return message or str(output)


def record_row(record: dict[str, Any]) -> list[object]:
    """One line of the audit log."""
    event = record["event"]
    data = event["data"]
    actor = data.get("actor") or {}
    what = " ".join(str(data.get(key, "")) for key in ("deployment", "package", "version")).strip()
    who = f"{actor.get('role', '')} {actor.get('key', '')[:8]}…" if actor else ""
    return [record["index"], event["time"][11:23], data["action"], data["outcome"], what, who]
