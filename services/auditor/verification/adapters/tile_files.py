# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A log as files (C2SP tlog-tiles) verified: entries, tiles of every level, and the signed head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from services.auditor.checkpoint import CheckpointError, VerifierKey
from services.auditor.merkle import HASH_BYTES, Hash, leaf_hash, tree_root
from services.auditor.tile_layout import (
    CHECKPOINT_NAME,
    ENTRIES,
    WITHHELD,
    TileFile,
    changed_files,
    parse_entries,
)
from services.auditor.tiles import Tile, hash_reader
from services.auditor.verification.adapters.verifying import Progress, VerifiedLog
from services.auditor.verification.heads import KeptHead, check_head, open_signed
from services.auditor.verification.problems import Problem, Problems
from services.auditor.verification.tree import (
    TILE_BYTES,
    DerivedTile,
    check_tree,
    fold_tile,
    read_believed,
)
from shared.errors import FaultError, RefusedError

TILE_DIRECTORY: Final = "tile"


def holds_tiles(place: str) -> bool:
    """Whether there is a log as files."""
    return "://" not in place and (Path(place) / TILE_DIRECTORY).is_dir()


def verify_tiles(
    place: str,
    *,
    keys: Sequence[VerifierKey],
    heads: Sequence[KeptHead] = (),
    limit: int = 100,
    progress: Callable[[int], Progress] = lambda _: lambda _: None,
) -> VerifiedLog:
    """Everything that the head in the directory covers; bodies are not part of such a log.

    Raises:
        RefusedError: There is no head, or none of the keys signed it.
        FaultError: A file cannot be read.
    """
    directory = Path(place)
    note = _read(directory / CHECKPOINT_NAME)
    if note is None:
        raise RefusedError(f"{directory / CHECKPOINT_NAME}: there is no signed head")
    try:
        head = open_signed(note.decode(), keys)
    except (CheckpointError, UnicodeDecodeError) as error:
        raise RefusedError(f"{directory / CHECKPOINT_NAME}: {error}") from error
    problems = Problems(limit)
    withheld: list[int] = []
    lowest = list(_lowest(directory, head.size, problems, withheld, progress(head.size)))
    kept = {
        Tile(file.level, file.offset): data
        for file in changed_files(0, head.size)
        if file.level > 0 and (data := _read(directory / file.path)) is not None
    }

    def read_lowest(wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        found = {tile: _read(directory / _file(tile, head.size).path) for tile in wanted}
        return {tile: data for tile, data in found.items() if data is not None}

    tree = check_tree(head.size, lowest, kept, root=head.root, read_lowest=read_lowest)
    problems.extend(
        problem._replace(part="checkpoint", at=str(head.size)) if problem.part == "log" else problem
        for problem in tree.problems
    )
    read = hash_reader(lambda wanted: read_believed(wanted, tree.tiles, read_lowest))
    for other in heads:
        problems.extend(
            check_head(other, size=head.size, keys=keys, root_of=lambda size: tree_root(size, read))
        )
    return VerifiedLog(
        head.origin,
        head.size,
        tree.root,
        head.size,
        1 + len(heads),
        problems.kept,
        problems.count,
        withheld=sum(withheld),
    )


def _lowest(
    directory: Path, size: int, problems: Problems, withheld: list[int], done: Progress
) -> Iterator[DerivedTile]:
    """Each tile of level 0 beside what its entries come to; notes how many are withheld."""
    for file in changed_files(0, size):
        if file.level != ENTRIES:
            continue
        tile = file._replace(level=0)
        kept = _read(directory / tile.path)
        # What the entries were is what the tile says, as long as the tree above agrees.
        said = (kept or b"").ljust(file.width * HASH_BYTES, b"\0")[: file.width * HASH_BYTES]
        leaves = _leaves(directory, file, problems)
        derived = said if leaves is None else _hashes(leaves, said)
        withheld.append((leaves or []).count(WITHHELD))
        is_full = len(derived) == TILE_BYTES
        top = fold_tile(derived) if is_full else Hash(b"")
        yield DerivedTile(file.offset, top, derived, kept)
        done(file.offset * len(derived) // HASH_BYTES)


def _hashes(leaves: Sequence[bytes], said: bytes) -> bytes:
    """Of the leaves; of what is withheld, those that the tile says."""
    return b"".join(
        said[place * HASH_BYTES : (place + 1) * HASH_BYTES] if leaf == WITHHELD else leaf_hash(leaf)
        for place, leaf in enumerate(leaves)
    )


def _leaves(directory: Path, file: TileFile, problems: Problems) -> list[bytes] | None:
    """The leaves in an entry bundle; None, and a problem, if it does not hold them."""
    data = _read(directory / file.path)
    why = "it is missing"
    if data is not None:
        try:
            leaves = parse_entries(data)
        except CheckpointError as error:
            why = error.message
        else:
            if len(leaves) == file.width:
                return leaves
            why = f"it holds {len(leaves)} entries where {file.width} are expected"
    problems.add(Problem("entries", str(file.offset), "", why))
    return None


def _file(tile: Tile, size: int) -> TileFile:
    width = min(TILE_BYTES // HASH_BYTES, (size >> 8 * tile.level) - tile.offset * 256)
    return TileFile(tile.level, tile.offset, width)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FaultError(f"{path}: cannot be read: {error.strerror}") from error
