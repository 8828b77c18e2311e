# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Good publications damaged at random, for as long as there is time: accepted or refused.

The seed is printed; `L3AF_SEED` sets it, and `make soak` makes it longer.
"""

from __future__ import annotations

import os
import random
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from shared.errors import RefusedError
from shared.package_archive import write_archive
from tests.support.elf_editor import ElfEditor
from tests.support.hostile.documents import encoded
from tests.support.hostile.mutations import WORDS, damaged, with_checksums
from tests.support.hostile.publications import (
    OBJECT,
    Publication,
    decide,
    good_files,
    good_object,
    manifest_document,
    request_document,
    with_archive,
    with_file,
    with_payload,
    with_request,
)

SECONDS: Final = float(os.environ.get("L3AF_SOAK_SECONDS", "12"))
"""Of all parsers together."""
EXAMPLES: Final = 50


def _section(name: str) -> bytes:
    elf = ElfEditor(good_object())
    return elf.content(elf.index_of(name))


def _with_section(name: str, content: bytes) -> Publication:
    elf = ElfEditor(good_object())
    elf.set_section(elf.index_of(f".rel{name}"), size=0)
    return with_file(OBJECT, bytes(elf.replace(name, content)))


Make = Callable[[bytes], Publication]
PARSERS: Final[dict[str, tuple[Callable[[], bytes], Make, tuple[bytes, ...]]]] = {
    "requests": (lambda: encoded(request_document()), with_request, WORDS),
    "manifests": (lambda: encoded(manifest_document()), with_payload, WORDS),
    "tests": (
        lambda: good_files()["tests.json"],
        lambda data: with_file("tests.json", data),
        WORDS,
    ),
    "archives": (
        lambda: write_archive(good_files()),
        lambda data: with_archive(with_checksums(data) or b"\0"),
        (),
    ),
    "objects": (good_object, lambda data: with_file(OBJECT, data), ()),
    "types": (lambda: _section(".BTF"), lambda data: _with_section(".BTF", data), ()),
    "relocations": (
        lambda: _section(".BTF.ext"),
        lambda data: _with_section(".BTF.ext", data),
        (),
    ),
}


@pytest.mark.soak
@pytest.mark.parametrize("parser", PARSERS)
def test_what_is_damaged_is_accepted_or_refused(
    parser: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No bytes make a parser fail in another way, whichever of them are wrong or missing."""
    good, make, words = PARSERS[parser]
    first = int(os.environ.get("L3AF_SEED") or secrets.randbelow(2**32))
    with capsys.disabled():
        sys.stderr.write(f"\n{parser}: L3AF_SEED={first} L3AF_SOAK_SECONDS={SECONDS:g}\n")
    numbers = random.Random(first)
    deadline = monotonic() + SECONDS / len(PARSERS)
    while monotonic() < deadline:
        _try(damaged(good(), words), make, numbers.randrange(2**32))


def _try(strategy: st.SearchStrategy[bytes], make: Make, number: int) -> None:
    @seed(number)
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def accepted_or_refused(data: bytes) -> None:
        with suppress(RefusedError):
            decide(make(data))

    accepted_or_refused()
