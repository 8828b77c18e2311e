# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the catalog is told."""

from __future__ import annotations

from shared.config import ServiceConfig
from shared.licensing.policies import DEFAULT_POLICY


class CatalogConfig(ServiceConfig, frozen=True, kw_only=True):
    """`CATALOG_…`."""

    licence_policy: str = DEFAULT_POLICY
    """Name of a pack that comes with the product, or path of a file that ends with `.toml`."""
