# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From when to when a hook point ran what: the same answer as at each single moment, for all times.

Pure.  A chain here is what ran on one hook point with everything that was said of its licences.
Stores keep, beside each sighting, which chain it names, and of each hook point and audience the
spans that follow; both hold nothing that the records do not say.

Rules:
 * At every moment the chain is the one that `inventory.hook_runs` answers for it.
 * A span is as long as the same chain runs; where nothing of ours runs there is none.
 * A word changes nothing before the moment from which it holds: what is earlier stays as it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal, NamedTuple

import msgspec

from services.auditor.sightings import is_newer
from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.base import Message
from shared.contracts.events import Audience
from shared.contracts.inventory import HookReading, RunningProgram

NOTHING: Final = 0
"""Number of the chain that is none: nothing of ours runs."""
EARLIEST_US: Final = -(2**62)
"""Before everything."""
OPEN_US: Final = 2**62
"""Where a span ends of which nothing says that it ended."""

WordKind = Literal["change", "found", "lost"]
"""`lost`: the node lost its memory; what was said before does not hold."""


class RanChain(Message, frozen=True, kw_only=True):
    """What ran on one hook point."""

    tag: str = ""
    """The kernel's digest of the instructions."""
    running: tuple[RunningProgram, ...] | None = None
    """First to run first, without their revisions; null: nobody said it."""


class Word(NamedTuple):
    """What one record says of one hook point, or of its whole node."""

    kind: WordKind
    audience: Audience
    sequence: int
    record: int
    from_us: int
    """From when on it holds, by the emitter's clock."""
    chain: int
    """Number of the chain; NOTHING: nothing of ours runs."""
    same: Hashable
    """What other readings of the same chain have as well (`identity_text`)."""


class Span(NamedTuple):
    """From when to when one chain ran."""

    from_us: int
    until_us: int
    """OPEN_US: nothing says that it ended."""
    chain: int
    record: int
    """Index of the record that says that it ran from then on."""


_DECODER: Final = msgspec.json.Decoder(RanChain)
_IN_ORDER: Final = attrgetter("from_us", "audience", "sequence", "record")
_FROM: Final = attrgetter("from_us")


def chain_text(reading: HookReading) -> str:
    """Everything that is known of what ran, in one form; empty: nothing of ours ran."""
    if not reading.program_id:
        return ""
    running = reading.running
    if running is not None:
        running = tuple(msgspec.structs.replace(one, revision=0) for one in running)
    return canonical_bytes(RanChain(tag=reading.program_tag, running=running)).decode()


def read_chain(text: str) -> RanChain:
    """The chain of a `chain_text` that is not empty."""
    return _DECODER.decode(text)


def identity_text(text: str) -> str:
    """Digest of what makes two readings the same chain (`inventory.identity`); empty: none runs."""
    if not text:
        return ""
    chain = read_chain(text)
    programs = [
        (one.deployment, one.package, one.version, one.program, one.archive_sha256)
        for one in chain.running or ()
    ]
    return sha256_hex(canonical_bytes([programs, chain.tag]))


def timeline(words: Iterable[Word]) -> list[Span]:
    """What ran when, from everything that was said of a place and of its node."""
    spans: list[Span] = []
    newest: dict[WordKind, Word] = {}
    began: Word | None = None
    for from_us, told in groupby(sorted(words, key=_IN_ORDER), key=_FROM):
        newest |= {word.kind: word for word in told}
        holds = _holding(newest)
        chain = holds.chain if holds is not None else NOTHING
        if chain == (began.chain if began is not None else NOTHING):
            continue
        if began is not None:
            spans[-1] = spans[-1]._replace(until_us=from_us)
        began = holds if chain != NOTHING else None
        if began is not None:
            spans.append(Span(from_us, OPEN_US, chain, began.record))
    return spans


def respanned(words: Iterable[Word], standing: Span | None, *, from_us: int) -> list[Span]:
    """The spans from a moment on, and the one that stands there, if its end is another one.

    Args:
        words: All that hold from that moment on, and before it the newest of each kind.
        standing: The last span that begins before.
        from_us: Before this moment everything is as it was.
    """
    spans = timeline(words)
    later = [one for one in spans if one.from_us >= from_us]
    if standing is None or standing.until_us < from_us:
        return later
    reaching = [one for one in spans if one.from_us < from_us <= one.until_us]
    until_us = reaching[-1].until_us if reaching else from_us
    changed = standing._replace(until_us=until_us)
    return later if changed == standing else [changed, *later]


def clipped(spans: Iterable[Span], *, since_us: int, until_us: int) -> Iterator[Span]:
    """What of the spans lies between two moments."""
    for one in spans:
        from_us, to_us = max(one.from_us, since_us), min(one.until_us, until_us)
        if from_us < to_us:
            yield Span(from_us, to_us, one.chain, one.record)


def _holding(newest: dict[WordKind, Word]) -> Word | None:
    """The word that holds; None: none does."""
    change, found, lost = (newest.get(kind) for kind in ("change", "found", "lost"))
    if lost is not None:
        change = change if is_newer(change, lost) else None
        found = found if is_newer(found, lost) else None
    if found is None or is_newer(change, found):
        return change
    if change is None or change.same != found.same:
        return found
    return change
