# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile publications: each is refused, for what is wrong with it, within bounded memory."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from shared.errors import RefusedError
from shared.reason_lists import MAX_BYTES
from tests.support.elf_editor import ElfEditor
from tests.support.hostile.corpus import FEWEST_KINDS, corpus
from tests.support.hostile.publications import (
    OBJECT,
    Kind,
    decide,
    good_files,
    good_object,
    good_publication,
    with_files,
)
from tests.support.hostile.sources import good_source

MEMORY_FACTOR = 4
MEMORY_BYTES = 48 << 20
"""More than four times the archive, for what is known of a package whatever its size."""


def test_there_are_many_kinds_and_no_two_of_one_name() -> None:
    """The corpus is as large as was promised."""
    names = [kind.name for kind in corpus()]

    assert len(names) >= FEWEST_KINDS
    assert len(set(names)) == len(names)


def test_the_packages_that_all_are_made_of_are_good() -> None:
    """Otherwise a refusal of what is made of it would say nothing."""
    assert decide(good_publication()).versions[0].licences is not None
    assert decide(good_source()).versions[0].licences is not None


@pytest.mark.parametrize("kind", corpus(), ids=lambda kind: kind.name)
def test_what_is_hostile_is_refused_for_what_is_wrong_with_it(kind: Kind) -> None:
    """The refusal names the place and the rule, can be sent, and cost no more than the archive."""
    publication = kind.make()
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError) as caught:
            decide(publication)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    found = [(reason.path, reason.rule) for reason in caught.value.reasons]
    assert any(path == kind.path and kind.rule in rule for path, rule in found), found
    assert len(msgspec.json.encode(caught.value.refusal())) < 2 * MAX_BYTES
    assert peak_bytes < MEMORY_BYTES + MEMORY_FACTOR * len(publication.archive)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    """A bad object, bad tests, a bad version and no licence stand in one refusal."""
    other = bytes(ElfEditor(good_object()).set_header("e_type", 3))
    files = {**good_files(), OBJECT: other, "tests.json": b"[]"}

    with pytest.raises(RefusedError) as caught:
        decide(with_files(files, version="one", licence="whatever you like"))

    assert {reason.path for reason in caught.value.reasons} >= {
        OBJECT,
        "tests.json",
        "manifest.version",
        "manifest.licence",
    }
