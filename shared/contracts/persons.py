# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Persons in the log: their words are kept under keys of their own, and go when those go."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.contracts.base import API, Endpoint, Message, Request

ERASE_ACTION: Final = "person.erase"
MOST_WORDS: Final = 100

_Name = Annotated[str, Meta(min_length=3, max_length=256)]
_Key = Annotated[str, Meta(pattern="^U[A-Z2-7]{55}$")]


class ErasePerson(Request, frozen=True, kw_only=True):
    """Make a person's names, keys and words unreadable for everybody, for good."""

    names: Annotated[tuple[_Name, ...], Meta(max_length=MOST_WORDS)] = ()
    """By which people and services call them: user names, mail addresses."""
    keys: Annotated[tuple[_Key, ...], Meta(max_length=MOST_WORDS)] = ()
    """Public keys that they had."""
    reason: Annotated[str, Meta(max_length=1000)] = ""
    """Why; must not name them."""
    dry_run: bool = False
    """Nothing is erased: what would be is said."""


class PersonErased(Message, frozen=True, kw_only=True):
    """What was erased, or would be; counted are records of audiences that the caller sees."""

    records: int
    """In which something was erased."""
    rewritten: int
    """Of them those that others wrote."""
    named: int
    """Records that have such a name or key where records are found by it, as that of a node or a
    package: it stays there."""
    dry_run: bool = False


ERASE_PERSON: Final = Endpoint(f"{API}.auditor.person.erase", ErasePerson, PersonErased)
