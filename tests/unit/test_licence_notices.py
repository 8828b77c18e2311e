# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What has to be handed on with a package is made from its own files, the same way every time."""

from __future__ import annotations

import pytest

from shared.contracts.notices import MAX_NOTICE_BYTES
from shared.contracts.package_manifest import SourceLocation
from shared.licensing.notices import NoticeTooLargeError, package_notice, render_notice
from shared.licensing.verdict import check_licences
from tests.support.licensed_packages import an_object, licensed

LINE = b"// SPDX-FileCopyright" + b"Text: 2026 "
FILES = {
    "LICENSES/GPL-2.0-only.txt": b"GPL,\nword by word\n",
    "NOTICE": b"This product has a part of somebody.\n",
    "common.h": LINE + b"Acme\n" + LINE + b"Zed */\n",
    "one.bpf.c": LINE + b"Acme\n",
    "one.bpf.o": b"\x7fELF one" + LINE + b"nobody\n",
    "package.toml": LINE + b"nobody either\n",
}
SOURCE = SourceLocation(
    repository="https://example.org/one.git", revision="v1", archive_sha256="a" * 64
)


def bundle(files: dict[str, bytes] = FILES, spdx: str = "GPL-2.0-only OR MIT") -> tuple[str, ...]:
    """The bundle of these files, as it is printed."""
    package = licensed(spdx, an_object("GPL"), files=files, source=SOURCE)
    notice = package_notice(package, files, check_licences(package).elections)
    return tuple(render_notice(notice).splitlines())


def test_copyright_lines_are_named_once_and_those_of_other_files_not() -> None:
    """Objects and the description of the package are no texts of the work."""
    lines = bundle()

    begin = lines.index("Copyright")
    assert lines[begin + 3 : begin + 5] == ("2026 Acme", "2026 Zed")
    assert not [line for line in lines if "nobody" in line]


def test_texts_and_notices_are_handed_on_word_by_word() -> None:
    """And what is named without a text is said to be missing."""
    lines = bundle()

    assert "This product has a part of somebody." in lines
    begin = lines.index("GPL,")
    assert lines[begin + 1] == "word by word"
    assert lines[-1] == "the text of MIT"


def test_it_says_under_what_an_object_is_taken_and_where_its_source_is() -> None:
    """In the package, and where the publisher says that it is kept."""
    lines = bundle()

    assert "one.bpf.o is taken under GPL-2.0-only" in lines
    assert "one.bpf.o (GPL-2.0-only): in the package: one.bpf.c" in lines
    assert "repository: https://example.org/one.git" in lines
    assert f"source archive, SHA-256: {'a' * 64}" in lines


def test_the_order_of_files_makes_no_difference() -> None:
    """The same package gives the same bytes."""
    assert bundle(dict(reversed(FILES.items()))) == bundle()


def test_a_bundle_that_nobody_could_be_sent_is_refused() -> None:
    """With its size and the limit."""
    with pytest.raises(NoticeTooLargeError) as caught:
        bundle({**FILES, "NOTICE.txt": b"a" * MAX_NOTICE_BYTES})

    assert caught.value.reasons[0].allowed == MAX_NOTICE_BYTES
