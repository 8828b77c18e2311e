# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters that are others on some nodes of a deployment, and who has the last word there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from shared.contracts.node_overlays import OverlaidNodes, OverlaidSetting

NODES_NAMED: Final = 5


def overlay_lines(overlaid: Iterable[OverlaidNodes]) -> Iterator[str]:
    """For each combination of overlays its nodes, and what is set there."""
    for one in overlaid:
        named = ", ".join(one.nodes[:NODES_NAMED])
        more = one.node_count - len(one.nodes[:NODES_NAMED])
        where = f"{named} and {more} more" if more else named
        yield f"{one.deployment} on {where}: overlays {', '.join(one.overlays)}"
        yield from (f"  {setting_line(setting)}" for setting in one.settings)
        if one.more_settings:
            yield f"  and {one.more_settings} more"


def setting_line(setting: OverlaidSetting) -> str:
    """As `config.limits.80 = 10 by busy, instead of 50 by edges, 100 by deployment`."""
    aside = ", ".join(f"{_text(one.value)} by {one.by}" for one in reversed(setting.instead_of))
    instead = f", instead of {aside}" if aside else ""
    return f"{setting.path} = {_text(setting.value)} by {setting.by}{instead}"


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
