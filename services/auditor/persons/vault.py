# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The keys of persons, and what is made with them: tokens and sealed words.

Pure but for its memory, which threads may share.

 * A token is the first 16 bytes of HMAC-SHA-256 under the person's key: the same words of the same
   person have the same token, and nobody who lacks the key can say which.
 * Words are sealed by AES-256-GCM under another key of the person, for their token.
 * Who a key or name belongs to is found by HMAC-SHA-256 under a key of the vault: it holds neither.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Iterable, Mapping
from hashlib import sha256
from threading import Lock
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.auditor.persons.tokens import (
    MAC_DIGITS,
    SUBJECT_DIGITS,
    Token,
    subject_of,
    tokens_in,
)

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
MOST_KNOWN: Final = 65_536
"""Tokens whose words are remembered; of more, all are forgotten and read again."""

RandomBytes = Callable[[int], bytes]


class Seals(dict[Token, bytes]):
    """Sealed words by token: nonce and ciphertext."""


class Person(NamedTuple):
    """One key or name, and its keys."""

    subject: str
    """SUBJECT_DIGITS random digits."""
    tag: bytes
    """By which the key or name is found."""
    keys: bytes
    """Two of KEY_BYTES: for tokens and for sealing."""


class Vault:
    """Everybody who is known, while the store is open."""

    def __init__(
        self, finding_key: bytes, persons: Iterable[Person], random_bytes: RandomBytes | None
    ) -> None:
        """Begin with those that are kept.

        Args:
            finding_key: KEY_BYTES.
            persons: Who is kept.
            random_bytes: Of that many bytes; None: nobody new comes to be known.
        """
        self._finding_key: Final = finding_key
        self._random: Final = random_bytes
        self._lock: Final = Lock()
        self._of_tag: Final[dict[bytes, Person]] = {}
        self._of_subject: Final[dict[str, Person]] = {}
        self._of_name: Final[dict[str, Person]] = {}
        self._tokens: Final[dict[tuple[str, bytes], Token]] = {}
        self._words: dict[Token, bytes] = {}
        self._kept: Final[set[Token]] = set()
        self._sealings: Final[dict[str, AESGCM]] = {}
        self._unsaved: Final[dict[str, Person]] = {}
        self.generation = 0
        """How often somebody was forgotten."""
        for person in persons:
            self._add(person)

    def subjects(self) -> frozenset[str]:
        """Everybody's."""
        return frozenset(self._of_subject)

    def knows(self, subject: str) -> bool:
        """Whether the keys of this one are there."""
        return subject in self._of_subject

    def subject_named(self, name: str) -> str:
        """Of a key or name that is known; empty: it is not."""
        person = self._of_tag.get(self._tag(name))
        return person.subject if person is not None else ""

    def known_token(self, name: str, word: bytes) -> Token | None:
        """The token of the words if whose they are is known; nobody comes to be known by this."""
        person = self._of_tag.get(self._tag(name))
        return _token(person, word) if person is not None else None

    def token(self, name: str, word: bytes, seals: Seals) -> Token | None:
        """The token of words, which are in `seals` then unless they are kept already.

        None: whose they are is not known and cannot come to be.
        """
        token = self._tokens.get((name, word))
        if token is None or token not in self._kept:
            person = self._person(name)
            if person is None:
                return None
            token = _token(person, word)
            if token not in self._kept and token not in seals and self._random is not None:
                nonce = self._random(NONCE_BYTES)
                sealing = self._sealing(person)
                seals[token] = nonce + sealing.encrypt(nonce, word, token.encode())
            if len(self._tokens) >= MOST_KNOWN:
                self._tokens.clear()
            self._tokens[name, word] = token
        return token

    def new_persons(self) -> list[Person]:
        """Who is not kept yet: to be kept before any of their tokens is."""
        with self._lock:
            return list(self._unsaved.values())

    def saved(self, persons: Iterable[Person], seals: Iterable[Token]) -> None:
        """These persons and sealed words are kept."""
        for person in persons:
            self._unsaved.pop(person.subject, None)
        if len(self._kept) >= MOST_KNOWN:
            self._kept.clear()
        self._kept.update(seals)

    def recalled(self, bodies: Iterable[bytes | None]) -> tuple[dict[Token, bytes], list[Token]]:
        """The words that are remembered of tokens in these messages, and tokens to be read.

        Those of persons whose keys are gone are in neither.
        """
        tokens, known = tokens_in(bodies), self._words
        words = {token: word for token in tokens if (word := known.get(token)) is not None}
        return words, sorted(one for one in tokens - words.keys() if self.knows(subject_of(one)))

    def read(self, seals: Mapping[Token, bytes]) -> dict[Token, bytes]:
        """The words of these tokens, remembered from now on; none of those whose key is gone."""
        found = {
            token: word
            for token, sealed in seals.items()
            if (word := self.unsealed(token, sealed)) is not None
        }
        with self._lock:
            if len(self._words) + len(found) > MOST_KNOWN:
                self._words = {}
            self._words |= {
                token: word for token, word in found.items() if self.knows(subject_of(token))
            }
        return found

    def unsealed(self, token: Token, sealed: bytes) -> bytes | None:
        """The words; None if their key is gone or they are not those that were sealed."""
        person = self._of_subject.get(subject_of(token))
        if person is None:
            return None
        try:
            return self._sealing(person).decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], token.encode()
            )
        except (InvalidTag, ValueError):
            return None

    def stands_for(self, token: Token, sealed: bytes) -> bool:
        """Whether these are the words that the token was made of, by keys that are there."""
        word, person = self.unsealed(token, sealed), self._of_subject.get(subject_of(token))
        return word is not None and person is not None and _token(person, word) == token

    def keyless_tokens(self) -> Callable[[bytes], Token]:
        """Tokens of somebody new whose keys nobody keeps: they lead nowhere."""
        nobody = self._new_person(b"")
        return lambda word: _token(nobody, word)

    def forget(self, subjects: Collection[str]) -> None:
        """The keys of these are not in memory any more, nor any words."""
        with self._lock:
            self.generation += 1
            for subject in subjects:
                person = self._of_subject.pop(subject, None)
                if person is not None:
                    del self._of_tag[person.tag]
                self._unsaved.pop(subject, None)
            self._words = {}
            for memory in (self._of_name, self._tokens, self._kept, self._sealings):
                memory.clear()

    def _sealing(self, person: Person) -> AESGCM:
        sealing = self._sealings.get(person.subject)
        if sealing is None:
            if len(self._sealings) >= MOST_KNOWN:
                self._sealings.clear()
            sealing = self._sealings[person.subject] = AESGCM(person.keys[KEY_BYTES:])
        return sealing

    def _person(self, name: str) -> Person | None:
        person = self._of_name.get(name)
        if person is not None:
            return person
        tag = self._tag(name)
        with self._lock:
            person = self._of_tag.get(tag)
            if person is None:
                if self._random is None:
                    return None
                person = self._new_person(tag)
                self._add(person)
                self._unsaved[person.subject] = person
            if len(self._of_name) >= MOST_KNOWN:
                self._of_name.clear()
            self._of_name[name] = person
        return person

    def _new_person(self, tag: bytes) -> Person:
        assert self._random is not None
        return Person(self._random(SUBJECT_DIGITS // 2).hex(), tag, self._random(2 * KEY_BYTES))

    def _add(self, person: Person) -> None:
        self._of_tag[person.tag] = person
        self._of_subject[person.subject] = person

    def _tag(self, name: str) -> bytes:
        return hmac.digest(self._finding_key, name.encode("utf-8", "surrogatepass"), sha256)


def _token(person: Person, word: bytes) -> Token:
    mac = hmac.digest(person.keys[:KEY_BYTES], word, "sha256")
    return f"{person.subject}:{mac.hex()[:MAC_DIGITS]}"
