# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the catalog is told."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.config import Labels, ServiceConfig
from shared.contracts.verification import MAX_TRIAL_SECONDS
from shared.errors import Reason, RefusedError
from shared.licensing.policies import DEFAULT_POLICY

MAX_KERNELS: Final = 16


class CatalogConfig(ServiceConfig, frozen=True, kw_only=True):
    """`CATALOG_…`."""

    licence_policy: str = DEFAULT_POLICY
    """Name of a pack that comes with the product, or path of a file that ends with `.toml`."""
    verification_kernels: Annotated[int, Meta(ge=0, le=MAX_KERNELS)] = 0
    """On how many different kernels a version must have passed before a channel takes it; 0: it is
    released when it is published."""
    verification_channels: Labels = {}
    """Written `channel=kernels,channel=kernels`: channels that demand another number."""
    verification_seconds: Annotated[int, Meta(ge=1, le=MAX_TRIAL_SECONDS)] = 300
    """What a node may take to verify one version."""


def kernels_by_channel(channels: Labels) -> dict[str, int]:
    """Channel to the number of kernels that it demands.

    Raises:
        RefusedError: Naming each that is no number from 0 to 16.
    """
    reasons = [
        Reason(path=channel, rule="is not a number from 0 to 16", got=count)
        for channel, count in channels.items()
        if not (count.isascii() and count.isdecimal() and int(count) <= MAX_KERNELS)
    ]
    if reasons:
        raise RefusedError("configuration: CATALOG_VERIFICATION_CHANNELS", reasons)
    return {channel: int(count) for channel, count in channels.items()}
