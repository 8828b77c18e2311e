# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package's record as a release stored it that kept every version whole."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from shared.contracts.package_records import StoredPackage

EARLIER: Final = (Path(__file__).parents[1] / "snapshots" / "catalog_record_1.json").read_bytes()
"""Package `one`: 1.0.0 in `stable`; 1.1.0 in `dev`, approved for `stable`; 2.0.0-rc.1 deprecated,
with a gate."""


def earlier_package() -> StoredPackage:
    """It, decoded."""
    return msgspec.json.decode(EARLIER, type=StoredPackage)
