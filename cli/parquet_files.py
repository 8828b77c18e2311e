# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records as a Parquet file, which is there when it is whole, and not before.

A Parquet file ends with the places of everything in it, so one that was interrupted cannot be read
or gone on with.  It is written under another name and gets its own when it is on the disk.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from cli.audit_columns import COLUMNS, columns_of
from cli.raw_records import read_record
from services.auditor.adapters.durable_files import sync_directory
from shared.errors import FaultError, RefusedError

GROUP_RECORDS: Final = 65_536
GROUP_BYTES: Final = 32 * 1024 * 1024
"""Records are kept in memory until there are as many, or they are as long as JSON."""
PART_SUFFIX: Final = ".part"


class ParquetFile:
    """A file while records are written into it."""

    def __init__(self, raw: Any, *, group_records: int) -> None:
        """Nothing is written yet.

        Raises:
            RefusedError: There is no library for it.
        """
        self._arrow: Final = _library()
        self._group_records: Final = group_records
        self._schema: Final = _schema(self._arrow)
        self._writer: Final = self._arrow.parquet.ParquetWriter(
            raw, self._schema, compression="zstd"
        )
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    @property
    def waiting(self) -> int:
        """Records that are in memory."""
        return len(self._waiting)

    def take(self, records: Sequence[bytes]) -> None:
        """The next records, in JSON.

        Raises:
            FaultError: One cannot be read.
            OSError: They cannot be written.
        """
        for record in records:
            self._waiting.append(bytes(record))
            self._waiting_bytes += len(record)
            if len(self._waiting) == self._group_records or self._waiting_bytes >= GROUP_BYTES:
                self._write_group()

    def finish(self, said: Mapping[str, str]) -> None:
        """No record follows; `said` is what the file says of itself.

        Raises:
            As `take`.
        """
        if self._waiting:
            self._write_group()
        self._writer.add_key_value_metadata({f"l3af.{name}": one for name, one in said.items()})

    def close(self) -> None:
        """The end of the file is written.

        Raises:
            OSError: It cannot be.
        """
        self._writer.close()

    def _write_group(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        columns = columns_of([read_record(record) for record in waiting])
        table = self._arrow.table(columns, schema=self._schema)
        self._writer.write_table(table)


@contextmanager
def parquet_file(path: Path, *, group_records: int = GROUP_RECORDS) -> Iterator[ParquetFile]:
    """The file, while it is made; it has its name once the block ended well, and is on the disk.

    Raises:
        RefusedError: There is one already, another command makes it, or there is no library.
        FaultError: It cannot be written.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        with part.open("ab") as raw:
            _hold(raw.fileno(), path)
            if path.exists():
                part.unlink(missing_ok=True)
                raise RefusedError(f"{path}: is there already; Parquet is written as a whole")
            raw.truncate(0)
            try:
                with closing(ParquetFile(raw, group_records=group_records)) as made:
                    yield made
                raw.flush()
                os.fsync(raw.fileno())
                part.rename(path)
            finally:
                part.unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileNotFoundError as error:
        raise RefusedError(f"{path}: there is no such place") from error
    except OSError as error:
        raise FaultError(f"{path}: cannot be written: {error.strerror}") from error


def _hold(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RefusedError(f"{path}: another command makes it") from error


def _library() -> ModuleType:
    """Loaded when it is needed: it is large, and few need it."""
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ImportError as error:
        how = "pip install 'l3af-bus[parquet]'"
        raise RefusedError(f"Parquet needs the library pyarrow: {how}") from error


def _schema(arrow: Any) -> Any:
    """The columns' types."""
    types = {
        "integer": arrow.int64(),
        "text": arrow.string(),
        "name": arrow.dictionary(arrow.int32(), arrow.string()),
        "time": arrow.timestamp("us", tz="UTC"),
        "truth": arrow.bool_(),
        "json": arrow.string(),
    }
    return arrow.schema(
        [arrow.field(one.name, types[one.kind], nullable=one.name != "record") for one in COLUMNS]
    )
