# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog as a process on a real bus meets hostile publications, and goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
import pytest

from cli.package_publish import upload
from shared.adapters.service_layer import ERROR_NUMBER
from shared.contracts.catalog import LIST_PACKAGES, PUBLISH_PACKAGE, ListPackages
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES
from shared.errors import Refusal
from tests.integration.conftest import Buses
from tests.support.catalog_stage import Stage, a_stage
from tests.support.hostile.corpus import GROUPS
from tests.support.hostile.publications import Kind, Publication, good_publication

IS_SOAK: Final = "L3AF_SOAK_SECONDS" in os.environ
ONE_OF: Final = 1 if IS_SOAK else 3
LARGEST_BYTES: Final = MAX_ARTIFACT_BYTES if IS_SOAK else 1 << 20
ANSWER_SECONDS: Final = 30.0


async def _asked(stage: Stage, publication: Publication) -> Refusal | None:
    """Upload and publish, whatever the bytes are: why it is refused, or None."""
    await upload(stage.publisher, publication.archive)
    answer = await stage.publisher.connection.ask(
        PUBLISH_PACKAGE.subject, publication.request, timeout_seconds=ANSWER_SECONDS
    )
    if ERROR_NUMBER not in (answer.headers or {}):
        return None
    return msgspec.json.decode(answer.data, type=Refusal)


@pytest.mark.soak
@pytest.mark.parametrize("group", GROUPS)
async def test_hostile_publications_are_refused_and_the_catalog_goes_on(
    buses: Buses, tmp_path: Path, group: str
) -> None:
    """Each is answered with the place and rule, nothing is stored, and a good one is accepted."""
    kinds = [*GROUPS[group]()][::ONE_OF]
    async with a_stage(buses, tmp_path / "state") as stage:
        for kind in kinds:
            publication = kind.make()
            if len(publication.archive) <= LARGEST_BYTES:
                _check(kind, await _asked(stage, publication))
        listed = await stage.publisher.request(LIST_PACKAGES, ListPackages())
        accepted = await _asked(stage, good_publication())
        await stage.until(lambda: any(one.data.outcome == "accepted" for one in stage.events))
        said = [event.data.outcome for event in stage.events]

    assert listed.packages == ()
    assert accepted is None
    assert said.count("accepted") == 1


def _check(kind: Kind, refusal: Refusal | None) -> None:
    assert refusal is not None, kind.name
    found = [(reason.path, reason.rule) for reason in refusal.reasons]
    assert any(path == kind.path and kind.rule in rule for path, rule in found), (kind.name, found)
