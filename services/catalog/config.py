# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the catalog is told."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from services.catalog.chunks import KEPT_BYTES
from services.catalog.releasing import ReleasePolicy
from shared.config import Labels, ServiceConfig
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES
from shared.contracts.trust_notes import TrustMode
from shared.contracts.verification import MAX_TRIAL_SECONDS
from shared.errors import Reason, RefusedError
from shared.licensing.policies import DEFAULT_POLICY

MAX_KERNELS: Final = 16
MAX_APPROVALS: Final = 16
MAX_SOAK_SECONDS: Final = 366 * 24 * 3600
MAX_KEPT: Final = 1000


class CatalogConfig(ServiceConfig, frozen=True, kw_only=True):
    """`CATALOG_…`."""

    max_artifact_bytes: Annotated[int, Meta(ge=1, le=MAX_ARTIFACT_BYTES)] = MAX_ARTIFACT_BYTES
    """The largest archive that is taken."""
    uploads_bytes: Annotated[int, Meta(ge=1)] = KEPT_BYTES
    """What uploads that are not finished may take on disk, all together."""
    licence_policy: str = DEFAULT_POLICY
    """Name of a pack that comes with the product, or path of a file that ends with `.toml`."""
    verification_kernels: Annotated[int, Meta(ge=0, le=MAX_KERNELS)] = 0
    """On how many different kernels a version must have passed before a channel takes it; 0: it is
    released when it is published."""
    verification_channels: Labels = {}
    """Written `channel=kernels,channel=kernels`: channels that demand another number."""
    verification_seconds: Annotated[int, Meta(ge=1, le=MAX_TRIAL_SECONDS)] = 300
    """What a node may take to verify one version."""
    approvals: Labels = {}
    """Written `channel=number`: how many code owners must have approved what a channel takes."""
    soak_seconds: Labels = {}
    """Written `channel=seconds`: how long a version must have been in another channel before."""
    trust_mode: TrustMode = "trusted"
    """`trusted`: what is not signed by those whom the trust documents name is not published and not
    handed out.  `normal`: it is, and said at every start, in every answer and in every event."""
    kept_versions: Labels = {}
    """Written `channel=number`: how many versions, the newest, are picked there; not named: all."""


def kernels_by_channel(channels: Labels) -> dict[str, int]:
    """Channel to the number of kernels that it demands.

    Raises:
        RefusedError: Naming each that is no number from 0 to 16.
    """
    return _numbers("VERIFICATION_CHANNELS", channels, maximum=MAX_KERNELS)


def release_policy(config: CatalogConfig) -> ReleasePolicy:
    """What each channel demands of people and of time.

    Raises:
        RefusedError: Naming each value that is no number in its range.
    """
    return ReleasePolicy(
        approvals=_numbers("APPROVALS", config.approvals, maximum=MAX_APPROVALS),
        soak_seconds=_numbers("SOAK_SECONDS", config.soak_seconds, maximum=MAX_SOAK_SECONDS),
        kept=_numbers("KEPT_VERSIONS", config.kept_versions, maximum=MAX_KEPT),
    )


def _numbers(name: str, channels: Labels, *, maximum: int) -> dict[str, int]:
    reasons = [
        Reason(path=channel, rule=f"is not a number from 0 to {maximum}", got=count)
        for channel, count in channels.items()
        if not (count.isascii() and count.isdecimal() and int(count) <= maximum)
    ]
    if reasons:
        raise RefusedError(f"configuration: CATALOG_{name}", reasons)
    return {channel: int(count) for channel, count in channels.items()}
