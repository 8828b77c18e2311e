# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Events about deployments of versions that nobody vouches for say so."""

from __future__ import annotations

import msgspec

from services.scheduler.remarks import remarks
from shared.contracts.deployments import DeploymentRevision, DeploymentSpec, ResolvedProgram
from shared.moments import render_time
from shared.trust.receipts import issue_receipt
from tests.package_builders import NOW, a_manifest, sign
from tests.support.trusting import CLOCK_SEED


def a_revision(said: str) -> DeploymentRevision:
    """Resolved to a package with the catalog's receipt."""
    signed = sign(a_manifest())
    receipt = issue_receipt(
        signed,
        audience="public",
        published_at=render_time(NOW),
        seed=CLOCK_SEED,
        unverified=said,
    )
    return DeploymentRevision(
        revision=1,
        spec=DeploymentSpec(name="one", package="one", hook="xdp", interfaces=("eth0",)),
        version="1.0.0",
        archive_sha256=signed.archive_sha256,
        command_id="command-1",
        actor_key="UALICE",
        actor_role="operator",
        at=render_time(NOW),
        resolved=ResolvedProgram(
            program="one",
            function="one",
            object="one.bpf.o",
            proceed_on=("pass",),
            signed=msgspec.structs.replace(signed, receipt=receipt),
        ),
    )


def test_what_the_catalog_let_pass_is_in_the_events_of_its_deployments() -> None:
    """As the receipt says; nothing where there is nothing to say, or nothing is known."""
    assert remarks(a_revision("NOT VERIFIED: nobody")) == {"unverified": "NOT VERIFIED: nobody"}
    assert remarks(a_revision("")) == {}
    assert remarks(msgspec.structs.replace(a_revision("x"), resolved=None)) == {}
