# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a generation is made of, as bytes that are pinned beside its program.

Pure.  bpffs holds no files, so the bytes are the only value of a frozen array map.  Layout:
`L3AF`, version, number, length of the body, and the body: canonical JSON, compressed by zlib (whose
checksum tells damage).  The number stands in front so that comparing it takes no decoding.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import ClassVar, Final

import msgspec

from services.node_executor.generations import Generation
from shared.canonical import canonical_bytes
from shared.contracts.errors import ErrorCode
from shared.errors import RefusedError

RECORD_NAME: Final = "l3af_plan"
"""Of the map and of its pin."""
MAX_RECORD_BYTES: Final = 8 * 1024 * 1024
"""Uncompressed; a chain of 64 programs with their signed manifests takes a tenth of it."""

_HEADER: Final = struct.Struct("<4sHxxQI")
_MAGIC: Final = b"L3AF"
_VERSION: Final = 1
_COMPRESSION: Final = 3
"""Of zlib: most of what level 9 saves, in a fifth of the time."""
_DECODER: Final = msgspec.json.Decoder(Generation)


class MalformedRecordError(RefusedError):
    """The bytes are no record of a generation, or a damaged one."""

    code: ClassVar[ErrorCode] = "invalid_request"


def encode_record(generation: Generation) -> bytes:
    """The record; the same generation always gives the same bytes."""
    body = zlib.compress(canonical_bytes(generation), _COMPRESSION)
    return _HEADER.pack(_MAGIC, _VERSION, generation.number, len(body)) + body


def record_number(record: bytes) -> int:
    """The generation's number; 0 if the bytes are no record."""
    if len(record) < _HEADER.size:
        return 0
    magic, version, number, _ = _HEADER.unpack_from(record)
    return int(number) if (magic, version) == (_MAGIC, _VERSION) else 0


@lru_cache(maxsize=256)
def decode_record(record: bytes) -> Generation:
    """The generation that was encoded.

    Raises:
        MalformedRecordError: The bytes are something else, cut off, damaged or too long.
    """
    if not record_number(record):
        raise MalformedRecordError("it is no record, or one of another release")
    _, _, _, length = _HEADER.unpack_from(record)
    reader = zlib.decompressobj()
    try:
        body = reader.decompress(record[_HEADER.size : _HEADER.size + length], MAX_RECORD_BYTES)
    except zlib.error as error:
        raise MalformedRecordError(f"the record is damaged: {error}") from error
    if not reader.eof:
        raise MalformedRecordError("the record is cut off or too long")
    try:
        return _DECODER.decode(body)
    except msgspec.MsgspecError as error:
        raise MalformedRecordError(f"the record does not decode: {error}") from error
