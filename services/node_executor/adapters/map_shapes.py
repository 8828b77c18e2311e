# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What of a map must be the same for its content to be carried over: declared, and running."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from services.node_executor.adapters import kernel_info
from services.node_executor.held_maps import HeldMap
from services.node_executor.kernel_types import Handle
from services.node_executor.map_carry_over import MapShape
from services.node_executor.map_types import MapOfMaps, MapTypes, describe_types
from shared.bytecode.btf import Btf
from shared.bytecode.configurable_types import inner_map, sized_layout
from shared.bytecode.elf import read_object
from shared.bytecode.map_declarations import MapDeclaration
from shared.configuration.kinds import MAX_PARTS


@lru_cache(maxsize=64)
def declared_shapes(data: bytes, path: str) -> Mapping[str, MapShape]:
    """The maps that an object declares, by name; sections of global data are none.

    Raises:
        RefusedError: The object is malformed.
    """
    parsed = read_object(data, path)
    return MappingProxyType({one.name: _shape(one, parsed.btf) for one in parsed.maps})


def running_shape(handle: Handle, held: HeldMap | None) -> MapShape:
    """A map of the running generation.

    Args:
        handle: The map.
        held: What was known of it when it was linked; without that, the kernel's BTF is read.
    """
    if held is None or not held.structure:
        return _shape(*kernel_info.map_declaration(handle.fd))
    info = kernel_info.map_info(handle.fd)
    return MapShape(
        type_number=info.type_number,
        key_size_bytes=info.key_size_bytes,
        value_size_bytes=info.value_size_bytes,
        max_entries=info.max_entries,
        flags=info.flags,
        types=MapTypes(held.structure, held.shape, has_timers=held.has_timers),
    )


def _shape(declared: MapDeclaration, btf: Btf | None) -> MapShape:
    return MapShape(
        type_number=declared.type_number,
        key_size_bytes=declared.key_size_bytes,
        value_size_bytes=declared.value_size_bytes,
        max_entries=declared.max_entries,
        flags=declared.flags,
        types=describe_types(declared, btf),
        of_maps=_of_maps(declared, btf),
    )


def _of_maps(declared: MapDeclaration, btf: Btf | None) -> MapOfMaps | None:
    inner = inner_map(declared, btf, most_parts=MAX_PARTS)
    if inner is None:
        return None
    key = sized_layout(btf, declared.key_type_id, declared.key_size_bytes)
    return MapOfMaps(key, inner)
