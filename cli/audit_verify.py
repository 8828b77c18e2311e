# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit verify --store`: a whole log checked offline, to every place that is not in order."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from cli.console import REFUSED, emit, plain, progress, refusing
from cli.proof_files import read_proof_file, trusted_key
from services.auditor.checkpoint import parse_verifier_key
from services.auditor.verification.adapters.tile_files import holds_tiles, verify_tiles
from services.auditor.verification.adapters.verifying import VerifiedLog, verify_store
from services.auditor.verification.heads import KeptHead
from shared.errors import Reason, RefusedError

CHECKPOINT_FILE = "checkpoint"


class LogProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One place that is not as it must be."""

    part: str
    at: str
    field: str
    why: str


class VerifiedStore(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify --store --json` prints."""

    verified: bool
    origin: str
    tree_size: int
    root: str
    signed_size: int
    """Of the largest head that the log's key signed; what is beyond is not signed yet."""
    checkpoints: int
    """Signed heads that were checked: the log's own, those in its records, and those given."""
    problem_count: int
    problems: tuple[LogProblem, ...]
    """The first of them."""
    key_source: str
    pruned: int = 0
    """Records that were pruned, as the log says."""
    withheld: int = 0
    """Entries of a log as files that are there by their hash alone: not everybody may see them."""
    erased: int = 0
    """Records from which words of persons were erased, as the log says it."""


def verify_whole(
    place: str,
    *,
    key: str,
    checkpoints: Sequence[Path],
    workers: int,
    limit: int,
    json: bool,
) -> None:
    """Verify, print, and end with REFUSED if anything is wrong."""
    with refusing(json=json), ExitStack() as stack:
        trusted, key_source = trusted_key(key)
        if not trusted:
            raise RefusedError("whose log is it?  Give the log's verifier key with --key")

        def begin(total: int) -> Callable[[int], None]:
            return stack.enter_context(progress("verifying", total=total))

        verify = partial(verify_store, workers=workers or os.cpu_count() or 1)
        found = (verify_tiles if holds_tiles(place) else verify)(
            place,
            keys=[parse_verifier_key(trusted)],
            heads=[*_given(checkpoints), *_beside(place)],
            limit=limit,
            progress=begin,
        )
    emit(_told(found, key_source), render_verified, json=json)
    if found.problem_count:
        sys.exit(REFUSED)


def render_verified(found: VerifiedStore) -> RenderableType:
    """What was checked and what is wrong."""
    facts = (
        f"The log {plain(found.origin)} has {found.tree_size} records (root {found.root[:16]}…), "
        f"{found.signed_size} of them under a signed head; {found.checkpoints} heads were checked."
    )
    if found.pruned:
        facts += f"  {found.pruned} records were pruned, as the log says: their hashes are there."
    if found.withheld:
        facts += f"  {found.withheld} entries are withheld: of them there is the hash alone."
    if found.erased:
        facts += f"  Words of persons were erased from {found.erased} records."
    by = Text(f"The log's key, by {plain(found.key_source)}.", style="dim")
    if found.verified:
        why = Text(
            "Every record, tile and head was derived anew.  That the last records were not cut off "
            "shows only a head that somebody else kept (--checkpoint).",
            style="dim",
        )
        return Group(Text("verified", style="bold green"), Text(facts), by, why)
    lines = [Text(plain(problem_line(problem)), style="red") for problem in found.problems]
    more = found.problem_count - len(found.problems)
    if more:
        lines.append(Text(f"and {more} more (--limit)", style="red"))
    title = Text(f"{found.problem_count} problems", style="bold red")
    return Group(title, *lines, Text(facts), by)


def problem_line(problem: LogProblem) -> str:
    """One problem as a line."""
    place = f"{problem.part} {problem.at}".strip()
    return f"{place}: {problem.field + ': ' if problem.field else ''}{problem.why}"


def _told(found: VerifiedLog, key_source: str) -> VerifiedStore:
    return VerifiedStore(
        verified=not found.problem_count,
        origin=found.origin,
        tree_size=found.size,
        root=found.root.hex(),
        signed_size=found.signed_size,
        checkpoints=found.checkpoints,
        problem_count=found.problem_count,
        problems=tuple(LogProblem(**problem._asdict()) for problem in found.problems),
        key_source=key_source,
        pruned=found.pruned,
        withheld=found.withheld,
        erased=found.erased,
    )


def _given(paths: Sequence[Path]) -> list[KeptHead]:
    """The heads in files that the caller names, and in those of directories."""
    files = [one for path in paths for one in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return [KeptHead(_read(path), str(path)) for path in files]


def _beside(place: str) -> list[KeptHead]:
    """The head in the log's own directory: a database that was restored does not bring it."""
    path = Path(place) / CHECKPOINT_FILE
    if "://" in place or not path.is_file():
        return []
    return [KeptHead(_read(path), str(path))]


def _read(path: Path) -> str:
    try:
        return read_proof_file(path).decode()
    except UnicodeDecodeError as error:
        reason = Reason(path="--checkpoint", rule="cannot be read as text", got=str(path))
        raise RefusedError(f"{path}: is no checkpoint", [reason]) from error
