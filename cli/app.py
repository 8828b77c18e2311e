# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The `l3af` command: which noun lives in which module.

Modules are imported when their command is used, so that `l3af --version` does not pay for all.
"""

from __future__ import annotations

from importlib.metadata import version

import cyclopts

app = cyclopts.App(
    name="l3af",
    help="Run eBPF programs as a service on a fleet, and prove what ran where.",
    version=lambda: version("l3af-bus"),
)
app.command("cli.init:init", help="Write an installation: keys, accounts, certificates.")
app.command("cli.up:up", help="Start nats-server and the services on this machine.")
app.command("cli.package:app", name="package", help="Write, test, publish and compare packages.")
app.command("cli.dev:dev", help="Build, test and deploy a package whenever its files change.")
app.command("cli.plan:plan", help="What deployment files would do, node by node.")
app.command("cli.deploy:app", name="deploy", help="Make a deployment what its file says.")
app.command("cli.deploy:rollback", help="Bring an earlier revision of a deployment back.")
app.command("cli.deploy:undeploy", help="Take a deployment off every node.")
app.command(
    "cli.rollout_control:app", name="rollout", help="Pause, resume, approve, abort a rollout."
)
app.command("cli.rollout_control:pause", help="Let a rollout change no further node.")
app.command("cli.rollout_control:resume", help="Let a paused rollout go on.")
app.command("cli.rollout_control:approve", help="Let the next wave of a rollout begin.")
app.command("cli.rollout_control:abort", help="Bring back what was there before a rollout.")
app.command("cli.gate:gate", help="Answer, by a program of yours, whether waves are well.")
app.command("cli.status:status", help="What is wanted, and what the kernels hold.")
app.command("cli.history:history", help="Who changed a deployment, why, and what.")
app.command("cli.history:diff", help="What differs between two revisions of a deployment.")
app.command("cli.explain:explain", help="Why a node runs what it runs, and not the rest.")
app.command("cli.why:why", help="Which deployments and rules made a chain what it is.")
app.command(
    "cli.node:app", name="node", help="List, show, label and forget nodes; give and take keys."
)
app.command("cli.cordon:cordon", help="Put nothing new on a node; what is there stays.")
app.command("cli.drain:drain", help="Empty a node, as far as its deployments allow.")
app.command("cli.cordon:uncordon", help="Put on a node again whatever means it.")
app.command(
    "cli.chain:app", name="chain", help="What runs on a hook, why it is linked so, what it does."
)
app.command(
    "cli.policy:app", name="policy", help="What holds of all rollouts: windows, approvals, limits."
)
app.command("cli.licence:app", name="licence", help="Request, grant and list licence waivers.")
app.command("cli.space:app", name="space", help="Who sees what is published, and until when.")
app.command("cli.map:app", name="map", help="What the maps of running programs hold.")
app.command(
    "cli.companion:app", name="companion", help="Programs of user space that packages bring."
)
app.command("cli.audit:app", name="audit", help="Ask the log, prove records, verify proofs.")
app.command(
    "cli.witness:app", name="witness", help="Run a witness: it cosigns the head of a log that grew."
)
app.command("cli.events:app", name="events", help="Follow events, live or from a durable place.")
app.command(
    "cli.trust:app", name="trust", help="Whose signatures of packages count: keys, ends, threshold."
)
app.command("cli.sim:app", name="sim", help="Simulate a fleet on this machine.")
app.command("cli.principal:app", name="principal", help="Add, revoke and rotate users of the bus.")


def main() -> None:
    """Run the command named by the arguments; exits 0, 2 for a refusal or misuse, 3 for a fault."""
    app()
