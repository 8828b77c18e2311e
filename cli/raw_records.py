# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records as they came, in JSON, for whoever writes them on without looking into each.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from shared.contracts.audit import STREAM_RECORDS, AuditRecord, StreamRecords
from shared.contracts.base import Endpoint, Message
from shared.errors import FaultError

_Read = TypeVar("_Read")


class RawChunk(Message, frozen=True, kw_only=True):
    """A RecordChunk whose records are not read."""

    records: tuple[msgspec.Raw, ...]
    tree_size: int
    scanned: int
    position: int | None = None


class _Number(msgspec.Struct):
    index: int


STREAM_RAW_RECORDS: Final = Endpoint(STREAM_RECORDS.subject, StreamRecords, RawChunk)
_NUMBER: Final = msgspec.json.Decoder(_Number)
_BEGIN: Final = re.compile(rb'\{"index":([0-9]{1,18}),')
"""Of a record as the auditor spells it: so its number is known without reading all of it."""
_RECORD: Final = msgspec.json.Decoder(AuditRecord)


def number_of(record: bytes) -> int:
    """The number of a record in JSON.

    Raises:
        FaultError: It has none.
    """
    return _read(record, _NUMBER).index


def numbers_of(records: Sequence[bytes], lines: Sequence[bytes]) -> list[int]:
    """The numbers of records in JSON, each with the line that it became.

    Raises:
        FaultError: One has none.
    """
    return [
        int(found[1]) if (found := _BEGIN.match(line)) else number_of(record)
        for record, line in zip(records, lines, strict=True)
    ]


def read_record(record: bytes) -> AuditRecord:
    """A record in JSON.

    Raises:
        FaultError: It is none.
    """
    return _read(record, _RECORD)


def _read(record: bytes, decoder: msgspec.json.Decoder[_Read]) -> _Read:
    try:
        return decoder.decode(record)
    except (msgspec.DecodeError, ValueError) as error:
        raise FaultError(
            f"the auditor answers with a record that cannot be read: {error}"
        ) from error
