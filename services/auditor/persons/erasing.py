# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of the log when somebody is erased, and what the log says of it.

Pure.  The keys of the person's keys and names go, and with them every word that tokens stand for.
What is left is what others wrote of them: texts that hold a name or a key get a token that never
had a key.

Rules:
 * A name counts where it stands as a word, a public key wherever it stands.  Only texts that
   people and services write are changed (WRITTEN), and never what records are found by: a node or
   a package of the same name stays.
 * The log says of each person's number how many records have its tokens, and a digest of what is
   left of them.  So nobody can call a record erased that they altered.  Who is erased later may
   take more from such a record: then its numbers are said anew.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from services.auditor.disclosure import audience_of
from services.auditor.persons.tokens import (
    MARKER,
    Token,
    replaced,
    subject_of,
    text_of,
    tokens_in,
)
from services.auditor.persons.vault import Vault
from services.auditor.query import StoredRecord
from services.auditor.retention.holds import Hold
from shared.canonical import canonical_bytes
from shared.contracts.events import Actor, Audience, EventBody
from shared.contracts.persons import ERASE_ACTION
from shared.errors import Reason, RefusedError

WRITTEN: Final = frozenset({"reason", "reasons", "details"})
"""Fields of a body that can hold what somebody wrote."""
_INDEX: Final = struct.Struct(">Q")
_ANY: Final = msgspec.json.Decoder()
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)


class Sought(NamedTuple):
    """Whom it is about."""

    names: frozenset[str]
    keys: frozenset[str]

    @property
    def words(self) -> frozenset[str]:
        """Both."""
        return self.names | self.keys


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks that somebody is erased, and what for."""

    sought: Sought
    actor: Actor
    reason: str
    is_dry_run: bool
    seen: frozenset[Audience]
    """Audiences of which who asks may know how many records are concerned."""
    check: Callable[[Hold | None], None]
    """Given what holds a record of theirs when it is done; raises RefusedError if it must stay."""


class Left(NamedTuple):
    """What is left of the records that have one person's tokens."""

    records: int
    sha256: str
    """Of the number of each, 8 bytes, and the SHA-256 of its message as it is kept, in order."""


class Counts(NamedTuple):
    """How many records are concerned."""

    records: int
    """In which something is erased."""
    rewritten: int
    """Of them those that others wrote."""
    named: int
    """Records that have such a name or key where records are found by it; it stays there."""


class Erased(NamedTuple):
    """What an erasure does."""

    persons: Mapping[str, Left]
    """By number: all whose keys are gone, or gone before, of whom something changed."""
    forgotten: frozenset[str]
    """Whose keys go now."""
    records: int
    """In which something is erased."""
    shown: Counts
    """The same of records that who asks sees."""
    changed: tuple[tuple[int, bytes, str], ...]
    """Records that are rewritten: number, message and actor as they are to be kept."""
    dropped: frozenset[Token]
    """Words of others that go."""

    @property
    def has_anything(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.forgotten or self.changed or self.dropped)


class Finding:
    """Whether a text speaks of somebody."""

    def __init__(self, sought: Sought) -> None:
        """Nothing is looked at yet."""
        spelled = {one for word in sought.words for one in (word, word.lower(), word.upper())}
        raw = {one.encode() for one in spelled} | {canonical_bytes(one)[1:-1] for one in spelled}
        self._somewhere: Final = re.compile(b"|".join(map(re.escape, sorted(raw))), re.IGNORECASE)
        names = "|".join(re.escape(name) for name in sorted(sought.names))
        keys = "|".join(re.escape(key) for key in sorted(sought.keys))
        parts = [rf"(?<![^\W_])(?:{names})(?![^\W_])"] if names else []
        self._spoken: Final = re.compile(
            "|".join([*parts, *([keys] if keys else [])]), re.IGNORECASE
        )

    def may_be_in(self, data: bytes) -> bool:
        """Whether it is worth while to look closer."""
        return self._somewhere.search(data) is not None

    def is_in(self, text: str) -> bool:
        """Whether the text speaks of them."""
        return self._spoken.search(text) is not None

    def is_in_words(self, word: bytes) -> bool:
        """The same of words as they were sealed: of a text of JSON, or of a whole message."""
        if not self.may_be_in(word):
            return False
        try:
            return any(self.is_in(text) for text in _texts(_ANY.decode(word)))
        except _UNREADABLE:
            return self.is_in(word.decode("utf-8", "replace"))


class Eraser:
    """Looks at everything that the log holds, and says what is to be done with it."""

    def __init__(self, vault: Vault, asked: Asked, new_token: Callable[[bytes], Token]) -> None:
        """Begin.

        Args:
            vault: Who is known.
            asked: Who is to be erased.
            new_token: A token for a text, of somebody who never has a key, that nobody can derive.
        """
        self._vault: Final = vault
        self._finding: Final = Finding(asked.sought)
        self._seen: Final = asked.seen
        self._new_token: Final = new_token
        found = {vault.subject_named(word) for word in asked.sought.words} - {""}
        self.forgotten: Final = frozenset(found)
        self._dropped: Final[dict[Token, Token]] = {}
        self._folds: Final = Folds()
        self._again: Final[set[str]] = set()
        self._changed: Final[list[tuple[int, bytes, str]]] = []
        self._records = 0
        self._shown = Counts(0, 0, 0)

    def take_words(self, token: Token, sealed: bytes) -> None:
        """Words that are kept; all of them before the first record."""
        if subject_of(token) in self.forgotten:
            return
        word = self._vault.unsealed(token, sealed)
        if word is not None and self._finding.is_in_words(word):
            self._dropped[token] = self._new_token(token.encode())

    def take(self, stored: StoredRecord, actor: str, others: str) -> bool:
        """The next record, by number; whether something of it is erased.

        Args:
            stored: As it is kept.
            actor: Who asked, as it is kept.
            others: The other columns.
        """
        others_encoded = stored.leaf + others.encode("utf-8", "replace")
        is_named = self._finding.may_be_in(others_encoded)
        is_erased, is_changed = self._look_into(stored, actor)
        self._records += is_erased
        if (is_named or is_erased) and audience_of(stored.leaf) in self._seen:
            records, rewritten, named = self._shown
            self._shown = Counts(records + is_erased, rewritten + is_changed, named + is_named)
        return is_erased

    def _look_into(self, stored: StoredRecord, actor: str) -> tuple[bool, bool]:
        """Whether something is erased, and whether the record is rewritten for it."""
        index, body = stored.index, stored.body
        if body is None:
            return False, False
        left, actor_left = replaced(body, self._dropped), actor
        if self._finding.may_be_in(left):
            left = _without(left, self._finding, self._new_token)
        token = actor.removeprefix(MARKER.decode())
        if token in self._dropped:
            actor_left = text_of(self._dropped[token])
        subjects = {subject_of(token) for token in tokens_in([left])} if MARKER in left else set()
        is_changed = (left, actor_left) != (body, actor)
        if is_changed:
            self._changed.append((index, left, actor_left))
            self._again.update(one for one in subjects if not self._vault.knows(one))
        gone = {one for one in subjects if one in self.forgotten or not self._vault.knows(one)}
        self._folds.take(index, sorted(gone), hashlib.sha256(left).digest())
        return is_changed or not self.forgotten.isdisjoint(subjects), is_changed

    def finish(self) -> Erased:
        """All that is to be done."""
        said = self.forgotten | self._again
        left = self._folds.finish()
        return Erased(
            persons={one: left.get(one, NOTHING_LEFT) for one in sorted(said)},
            forgotten=self.forgotten,
            records=self._records,
            changed=tuple(self._changed),
            dropped=frozenset(self._dropped),
            shown=self._shown,
        )


class Folds:
    """What is left of the records of each person who was erased."""

    def __init__(self) -> None:
        """Nothing was looked at."""
        self._folds: Final[dict[str, tuple[int, Any]]] = {}

    def take(self, index: int, subjects: Iterable[str], kept_sha256: bytes) -> None:
        """The next record that has tokens of these."""
        for subject in subjects:
            count, digest = self._folds.get(subject) or (0, hashlib.sha256())
            digest.update(_INDEX.pack(index) + kept_sha256)
            self._folds[subject] = (count + 1, digest)

    def finish(self) -> dict[str, Left]:
        """Of each."""
        return {one: Left(count, sha.hexdigest()) for one, (count, sha) in self._folds.items()}


NOTHING_LEFT: Final = Left(0, hashlib.sha256().hexdigest())


def erase_event(erased: Erased, asked: Asked) -> EventBody:
    """What the log says.

    `details`: `records` in which something was erased, `rewritten` of them, and `persons`: number,
    `records` and `sha256` of what is left of each.
    """
    return EventBody(
        action=ERASE_ACTION,
        outcome="succeeded",
        actor=asked.actor,
        reason=asked.reason,
        details={
            "records": erased.records,
            "rewritten": len(erased.changed),
            "persons": [
                {"person": one, "records": left.records, "sha256": left.sha256}
                for one, left in erased.persons.items()
            ],
        },
    )


def said_persons(body: EventBody) -> dict[str, Left]:
    """Who was erased by the log's word, and what was left then; nothing of what is not said so."""
    try:
        persons = msgspec.convert(body.details.get("persons"), list[_Said])
    except msgspec.ValidationError:
        return {}
    return {one.person: Left(one.records, one.sha256) for one in persons}


class _Said(msgspec.Struct, frozen=True):
    person: str
    records: int
    sha256: str


def check_asked(sought: Sought, *, reason: str, is_dry_run: bool) -> None:
    """Somebody can be erased for this reason.

    Raises:
        RefusedError: With everything that stands in the way; nobody is named in it.
    """
    problems: list[Reason] = []
    if not sought.words:
        problems.append(Reason(path="names", rule="name somebody, or give a key"))
    elif Finding(sought).is_in(reason):
        rule = "is kept in the log, and must not name whoever is erased from it"
        problems.append(Reason(path="reason", rule=rule))
    if not (reason.strip() or is_dry_run):
        problems.append(Reason(path="reason", rule="says why they are erased"))
    if problems:
        raise RefusedError("nobody can be erased so", problems)


def refuse_held(hold: Hold | None, seen: frozenset[Audience]) -> None:
    """Nothing is erased from a record that is held.

    Raises:
        RefusedError: By this hold; of one of a space that is not seen no more is said.
    """
    if hold is None:
        return
    allowed = f"hold {hold.id} is released first" if hold.audience in seen else None
    reason = Reason(path="names", rule="a legal hold covers a record of theirs", allowed=allowed)
    raise RefusedError("they are not erased: a legal hold covers a record of theirs", [reason])


def _without(body: bytes, finding: Finding, new_token: Callable[[bytes], Token]) -> bytes:
    """The message with tokens in the place of texts that speak of somebody."""

    def text(value: str) -> str:
        return text_of(new_token(value.encode())) if finding.is_in(value) else value

    try:
        event = _ANY.decode(body)
        data, contents = event["data"], event.get("contents", {})
        for name in WRITTEN & data.keys():
            data[name] = _changed(data[name], text)
        for digest in contents:
            contents[digest] = _changed(contents[digest], text)
    except (*_UNREADABLE, TypeError, KeyError, AttributeError):
        return body  # what is no event is sealed as a whole, and has a token already
    changed = canonical_bytes(event)
    return changed if changed != canonical_bytes(_ANY.decode(body)) else body


def _changed(value: Any, text: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {text(name): _changed(one, text) for name, one in value.items()}
    return [_changed(one, text) for one in value] if isinstance(value, list) else value


def _texts(value: Any) -> Iterable[str]:
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one


def check_left(
    left: Mapping[str, Left], said: Mapping[str, Left], known: Collection[str]
) -> dict[str, str]:
    """What is wrong with the erasure of each person of whom something is; by number.

    Args:
        left: What is left of records, of everybody whose keys are gone.
        said: What the log says of it, each time the newest word.
        known: Whose keys are there.
    """
    found = {}
    for one, what in left.items():
        word = said.get(one)
        if word is None:
            found[one] = f"{what.records} records lost its words, and nothing says it was erased"
        elif what.records > word.records or (
            what.records == word.records and what.sha256 != word.sha256
        ):
            found[one] = "its records are not what was left of them when it was erased"
    found |= {one: "it was erased, and its keys are there" for one in said if one in known}
    return found
