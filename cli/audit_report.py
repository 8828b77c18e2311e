# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit report`: reports from the log alone."""

from __future__ import annotations

import cyclopts

app = cyclopts.App(name="report", help="Reports from the log alone.")
app.command("cli.audit_distribution:distribution", help="What was handed out, and to whom.")
app.command("cli.report_schedules:app", name="schedule", help="Reports made by themselves.")
app.command("cli.kept_reports:list_", name="list", help="Reports that were made by a schedule.")
app.command("cli.kept_reports:get", help="One of them.")
app.command("cli.audit_findings:findings", help="What is not as the licence policy wants it.")
app.command(
    "cli.audit_policy_replay:policy_replay_",
    name="policy-replay",
    help="What another licence policy would have said.",
)
app.command("cli.audit_licences:licences", name="licences", help="Under which licences nodes ran.")
