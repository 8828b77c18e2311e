# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The signed head: the published example, and everything that must be refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.auditor.checkpoint import (
    CheckpointError,
    TreeHead,
    checkpoint_due_at,
    open_checkpoint,
    open_note,
    parse_tree_head,
    parse_verifier_key,
    render_tree_head,
    render_verifier_key,
    sign_checkpoint,
    sign_note,
    verifier_key,
)
from services.auditor.merkle import EMPTY_ROOT, Hash

# The example of golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = GO_TEXT + (
    "\n\N{EM DASH} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
    "KvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SEED = bytes(range(32))
KEY = verifier_key("log.example/1", seed=SEED)
HEAD = TreeHead("log.example/1", 7, Hash(bytes(range(32))))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_published_note_opens_with_the_published_key() -> None:
    """What Go's reference library signs is accepted."""
    assert open_note(GO_NOTE, key=parse_verifier_key(GO_KEY)) == GO_TEXT


def test_the_published_key_is_rendered_as_published() -> None:
    """Key id and encoding are those of the reference library."""
    assert render_verifier_key(parse_verifier_key(GO_KEY)) == GO_KEY


def test_a_signed_head_has_the_documented_form() -> None:
    """Origin, size, root, an empty line, one signature line."""
    lines = sign_checkpoint(HEAD, seed=SEED).split("\n")

    assert lines[:4] == ["log.example/1", "7", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", ""]
    assert lines[4].startswith("\N{EM DASH} log.example/1 ")
    assert lines[5:] == [""]


def test_signing_is_deterministic() -> None:
    """The same head gives the same note, so that a repeat is no second statement."""
    assert sign_checkpoint(HEAD, seed=SEED) == sign_checkpoint(HEAD, seed=SEED)


def test_other_signatures_on_a_note_are_passed_over() -> None:
    """A witness may add its line; the log's own signature still counts."""
    note = sign_checkpoint(HEAD, seed=SEED)
    witness = sign_note(render_tree_head(HEAD), name="witness.example", seed=bytes(32))
    extra = witness.split("\n\n")[1]

    assert open_checkpoint(note + extra, key=KEY) == HEAD


def test_extension_lines_are_signed_and_have_no_meaning() -> None:
    """A line after the root does not change what the head says."""
    note = sign_note(render_tree_head(HEAD) + "extension\n", name=KEY.name, seed=SEED)

    assert open_checkpoint(note, key=KEY) == HEAD


def test_a_note_by_another_key_is_refused() -> None:
    """The name alone is nothing: the same name with another key does not count."""
    note = sign_checkpoint(HEAD, seed=bytes(32))

    with pytest.raises(CheckpointError, match="not signed by"):
        open_checkpoint(note, key=KEY)


def test_a_head_signed_for_another_log_is_refused() -> None:
    """One key that signs under its own name for a foreign origin proves nothing."""
    note = sign_note(
        "other.example\n7\n" + render_tree_head(HEAD).split("\n")[2] + "\n",
        name=KEY.name,
        seed=SEED,
    )

    with pytest.raises(CheckpointError, match="of log other"):
        open_checkpoint(note, key=KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n",
        "log\n1\n",
        "log\n1\n\n",
        "log\n01\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "log\n-1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "log\n\N{ARABIC-INDIC DIGIT ONE}\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "log\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        "log\n1\nAAEC\n",
        "log\n1\n!\n",
        "log\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "log\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\nmore\n",
    ],
)
def test_texts_that_are_no_head_are_refused(text: str) -> None:
    """Missing lines, leading zeros, foreign digits, loose base64: none of them is a head."""
    with pytest.raises(CheckpointError):
        parse_tree_head(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AQ==",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+BBpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_texts_that_are_no_key_are_refused(text: str) -> None:
    """Another name, another algorithm, another key id: refused by name."""
    with pytest.raises(CheckpointError):
        parse_verifier_key(text)


@pytest.mark.parametrize(
    "note",
    [
        GO_TEXT,
        GO_NOTE[:-1],
        GO_NOTE.replace("\N{EM DASH} ", "- "),
        GO_NOTE.replace("x08go", "x08gp"),
        GO_NOTE.replace("answer", "question"),
        GO_NOTE + "\N{EM DASH} PeterNeumann x08go/Y=\n",
        GO_NOTE + "\n",
        "\t" + GO_NOTE,
        GO_TEXT + "\n",
    ],
)
def test_altered_notes_are_refused(note: str) -> None:
    """A note that is not byte for byte what was signed does not open."""
    with pytest.raises(CheckpointError):
        open_note(note, key=parse_verifier_key(GO_KEY))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_names_that_break_the_format_are_refused(name: str) -> None:
    """White space and '+' separate fields, so no key name holds them."""
    with pytest.raises(CheckpointError):
        sign_checkpoint(TreeHead(name, 0, EMPTY_ROOT), seed=SEED)


def test_a_grown_tree_is_signed_at_once_but_not_twice_a_second() -> None:
    """The next head is due when the tree grew, at the earliest a second after the last one."""
    signed = NOW

    soon = checkpoint_due_at(
        size=2, signed_size=1, signed_at=signed, grown_at=signed + timedelta(seconds=0.2)
    )
    later = checkpoint_due_at(
        size=2, signed_size=1, signed_at=signed, grown_at=signed + timedelta(seconds=9)
    )

    assert soon == signed + timedelta(seconds=1)
    assert later == signed + timedelta(seconds=9)


def test_an_idle_tree_is_signed_every_minute() -> None:
    """An idle log still speaks once a minute."""
    due = checkpoint_due_at(size=1, signed_size=1, signed_at=NOW, grown_at=NOW - timedelta(days=1))

    assert due == NOW + timedelta(minutes=1)
