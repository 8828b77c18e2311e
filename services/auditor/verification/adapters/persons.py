# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the log says of persons who were erased, held against what is left of its records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Final

from services.auditor.persons.erasing import Left, check_left
from services.auditor.persons.masking import EVERY
from services.auditor.persons.tokens import Token, opened_bodies, subject_of, tokens_in
from services.auditor.persons.vault import Vault
from services.auditor.verification.adapters.sources import LogSource
from services.auditor.verification.problems import Problem, shown
from services.auditor.verification.rows import OpenedBody

MAX_NAMED: Final = 100
WORDS_AT_ONCE: Final = 500
SEALED_AT_ONCE: Final = 5_000


def opened_messages(source: LogSource, bodies: Sequence[bytes | None]) -> list[OpenedBody]:
    """Messages as they were received, as far as that can be said."""
    words, unread = source.vault.recalled(bodies)
    for start in range(0, len(unread), WORDS_AT_ONCE):
        named = ",".join(f"'{token}'" for token in unread[start : start + WORDS_AT_ONCE])
        found = source.fetch(f"SELECT token, words FROM sealed WHERE token IN ({named})")  # noqa: S608
        words |= source.vault.read({token: bytes(sealed) for token, sealed in found})
    return [_opened(body, words, source.vault) for body in bodies]


def check_sealed(source: LogSource) -> Iterator[Problem]:
    """Sealed words that are not those of their tokens, whether or not a record has them."""
    for start in count(step=SEALED_AT_ONCE):
        found = source.query(
            "SELECT token, words FROM sealed ORDER BY token LIMIT {:d} OFFSET {:d}",
            SEALED_AT_ONCE,
            start,
        )
        for token, sealed in found:
            if not source.vault.knows(subject_of(token)):
                yield Problem("words", shown(token), "token", "nobody has the keys of it")
            elif not source.vault.stands_for(token, bytes(sealed)):
                yield Problem("words", shown(token), "words", "they are not those of the token")
        if len(found) < SEALED_AT_ONCE:
            return


def check_persons(
    source: LogSource,
    left: Mapping[str, Left],
    said: Mapping[str, Left],
    records: Mapping[str, Sequence[int]],
) -> Iterator[Problem]:
    """Words that are gone without a word, what is left and was altered, and what is not said.

    Args:
        source: The store.
        left: What is left of records, of everybody whose keys are gone.
        said: What the log's records say of them, each time the newest word.
        records: Some of the records that each had words in.
    """
    ((masked,),) = source.query("SELECT masked FROM log")
    if masked != EVERY:
        yield Problem("log", "", "masked", f"it is {masked}: not every record was gone through")
    for (number,) in source.query(
        "SELECT number FROM erasures ORDER BY number LIMIT {:d}", MAX_NAMED
    ):
        why = "the log does not say this erasure yet: the auditor does at its next start"
        yield Problem("person", f"erasure {number}", "", why)
    for one, why in sorted(check_left(left, said, source.vault.subjects()).items()):
        yield Problem("person", one, "", why)
        for index in records.get(one, ()) if one not in said else ():
            yield Problem("record", str(index), "body", "words are gone, and nothing says why")


def _opened(body: bytes | None, words: Mapping[Token, bytes], vault: Vault) -> OpenedBody:
    ((whole, is_erased),) = opened_bodies([body], words)
    if not is_erased:
        return OpenedBody(whole)
    left = {subject_of(token) for token in tokens_in([body]) if token not in words}
    gone = {subject for subject in left if not vault.knows(subject)}
    return OpenedBody(whole, tuple(sorted(gone)), left != gone)
