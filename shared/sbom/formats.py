# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which function writes which format.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from shared.contracts.sbom import BillFormat, PackageBill
from shared.sbom.cyclonedx import cyclonedx_document
from shared.sbom.spdx import spdx_document


class Writes(Protocol):
    """Writes one format."""

    def __call__(self, bills: Sequence[PackageBill], *, channel: str = "") -> str:
        """The document of one package, or of what a channel offers."""


DOCUMENTS: Final[Mapping[BillFormat, Writes]] = {
    "cyclonedx": cyclonedx_document,
    "spdx": spdx_document,
}
