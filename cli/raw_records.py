# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records as they came, in JSON, for whoever writes them on without looking into each.

Pure.
"""

from __future__ import annotations

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
_RECORD: Final = msgspec.json.Decoder(AuditRecord)


def number_of(record: bytes) -> int:
    """The number of a record in JSON.

    Raises:
        FaultError: It has none.
    """
    return _read(record, _NUMBER).index


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
