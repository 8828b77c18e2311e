# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which packages declare the same maps to be one for all, and whether that could be.

Pure.  libbpf gives objects that pin a map by name (`LIBBPF_PIN_BY_NAME`) the one that lies there,
if type, sizes and number of entries agree, and refuses to load them otherwise (libbpf.c,
map_is_reuse_compat).
"""

from __future__ import annotations

from collections.abc import Sequence

from services.catalog.search.documents import SHARED_LAYOUT, STANDS, WITHDRAWN, read_layout
from services.catalog.search.index import SearchIndex
from services.catalog.search.postings import numbers_in
from shared.contracts.events import Audience
from shared.contracts.package_records import SharedMap
from shared.contracts.search import MAX_FOUND, SharedMapUse, SharingPackage

_COMPARED = ("type", "key_size_bytes", "value_size_bytes", "max_entries")


def shared_with(
    index: SearchIndex, name: str, maps: Sequence[SharedMap], seen: frozenset[Audience]
) -> tuple[SharedMapUse, ...]:
    """For each of the maps, the other packages that declare it.

    Args:
        index: All versions.
        name: Of the package that is asked about.
        maps: Its own.
        seen: The spaces that whoever asks sees.
    """
    among = index.in_spaces(seen) & index.having(STANDS, "") & ~index.having(WITHDRAWN, "")
    layouts = [(read_layout(value), one) for value, one in index.values(SHARED_LAYOUT).items()]
    uses = []
    for own in maps:
        found = []
        for layout, posting in layouts:
            if layout.name != own.name:
                continue
            differs = tuple(
                field for field in _COMPARED if getattr(layout, field) != getattr(own, field)
            )
            for number in numbers_in(posting.bits & among):
                other = index.documents[number]
                if other.name != name:
                    found.append((other.name, other.space, other.version, differs))
        found.sort()
        packages = tuple(
            SharingPackage(name=package, version=version, space=space, differs=differs)
            for package, space, version, differs in found[:MAX_FOUND]
        )
        uses.append(SharedMapUse(map=own, total=len(found), packages=packages))
    return tuple(uses)
