# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""All hostile publications there are, by name."""

from __future__ import annotations

from functools import cache

from tests.support.hostile.archives import archive_kinds
from tests.support.hostile.attestations import attestation_kinds
from tests.support.hostile.envelopes import envelope_kinds
from tests.support.hostile.manifests import manifest_kinds
from tests.support.hostile.objects import object_kinds
from tests.support.hostile.package_tests import package_test_kinds
from tests.support.hostile.publications import Kind
from tests.support.hostile.requests import request_kinds
from tests.support.hostile.sources import source_kinds
from tests.support.hostile.types import type_kinds

FEWEST_KINDS = 200
GROUPS = {
    "archives": archive_kinds,
    "manifests": manifest_kinds,
    "envelopes": envelope_kinds,
    "attestations": attestation_kinds,
    "requests": request_kinds,
    "tests": package_test_kinds,
    "objects": object_kinds,
    "types": type_kinds,
    "sources": source_kinds,
}


@cache
def corpus() -> tuple[Kind, ...]:
    """Every kind, in the order of the groups."""
    return tuple(kind for kinds in GROUPS.values() for kind in kinds())
