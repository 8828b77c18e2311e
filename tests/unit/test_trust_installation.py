# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Trust documents in an installation's directory: made, changed and signed without any server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from installation import members, trust_editing, trusting
from installation.create import create_installation
from installation.layout import Layout
from shared.contracts.trust import TrustDocument
from shared.dsse import SignatureError, public_key_of
from shared.errors import RefusedError
from shared.installation_facts import CREDENTIALS_FILE
from shared.moments import render_time
from shared.nkeys import parse_credentials
from shared.trust.receipts import derive_clock_seed
from tests.support.trusting import BOB_SEED, CAROL_SEED, a_key, a_trust_document

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = NOW + DAY


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """With a publisher beside the administrator."""
    directory = tmp_path / "installation"
    create_installation(directory, listen="127.0.0.1:4222", now=NOW)
    members.add(directory, name="alice", role="publisher", now=NOW)
    return directory


def made(installation: Path, *, takes_publishers: bool = True) -> TrustDocument:
    """The first document of `public`."""
    return trusting.create_document(
        installation, "public", takes_publishers=takes_publishers, clocks=(), now=NOW
    )


def test_a_document_trusts_nobody_by_default(installation: Path) -> None:
    """Keys are there because the operator said so."""
    assert made(installation, takes_publishers=False).keys == ()


def test_the_publishers_of_now_can_be_taken_at_once(installation: Path) -> None:
    """Everybody with a certificate for packages, by the name and key of that certificate."""
    document = made(installation)

    assert {key.name: key.key for key in document.keys} == {
        name: trusting.publisher_key(installation, name) for name in ("admin", "alice")
    }


def test_the_catalogs_key_for_receipts_is_found_in_the_installation(installation: Path) -> None:
    """What the catalog will derive from its own credentials is in the document from the start."""
    layout = Layout(installation)
    text = (layout.credentials("service", "catalog") / CREDENTIALS_FILE).read_text()
    seed = derive_clock_seed(parse_credentials(text).key.seed)

    assert made(installation).clocks == (public_key_of(seed).hex(),)


def test_every_change_is_signed_and_the_next_version(installation: Path) -> None:
    """What lies in the directory opens with the trust root and is one version on."""
    made(installation)

    changed = trusting.change_document(
        installation,
        "public",
        lambda one: trust_editing.with_threshold(one, 2, now=LATER),
    )
    stored, _ = trusting.stored_document(installation, "public")

    assert stored == changed
    assert (stored.version, stored.threshold) == (2, 2)
    assert stored.issued_at == render_time(LATER)


def test_a_document_is_made_once(installation: Path) -> None:
    """A second `init` would begin at version 1 again, which no node takes."""
    made(installation)

    with pytest.raises(trusting.TrustDocumentExistsError, match="has a trust document already"):
        made(installation)


def test_it_is_known_which_namespaces_trust_a_principal(installation: Path) -> None:
    """So that whoever takes its credentials back is told of the key that still counts."""
    made(installation)
    for namespace in ("p_acme", "p_other"):
        trusting.create_document(
            installation, namespace, takes_publishers=False, clocks=(), now=NOW
        )
    trusting.change_document(
        installation, "p_acme", lambda one: trust_editing.with_key(one, a_key("alice"), now=NOW)
    )

    assert trusting.namespaces_trusting(installation, "alice") == ("p_acme", "public")
    trusting.change_document(
        installation,
        "public",
        lambda one: trust_editing.revoked(
            one, "alice", at=render_time(NOW), older="keep", now=LATER
        ),
    )
    assert trusting.namespaces_trusting(installation, "alice") == ("p_acme",)
    assert trusting.namespaces_trusting(installation, "bob") == ()


def test_a_document_that_somebody_else_changed_is_refused(installation: Path) -> None:
    """The file is public, and believed only as the trust root signed it."""
    made(installation)
    path = Layout(installation).trust_document("public")
    path.write_text(path.read_text().replace('"sig": "', '"sig": "AAAA'))

    with pytest.raises(SignatureError):
        trusting.stored_document(installation, "public")


def test_a_namespace_without_a_document_says_how_to_make_one(installation: Path) -> None:
    """Nothing is made by the way."""
    with pytest.raises(trusting.NoTrustDocumentError, match="l3af trust init"):
        trusting.stored_document(installation, "p_acme")


def test_rotation_ends_one_key_and_begins_another_at_one_moment() -> None:
    """The new key has the name, roles and packages of the old one."""
    document = a_trust_document(a_key(packages=("edge-*",)))
    new = public_key_of(BOB_SEED).hex()
    at = render_time(LATER)

    rotated = trust_editing.rotated(document, "acme", new, at=at, now=NOW)

    assert [(key.not_before, key.not_after) for key in rotated.keys] == [("", at), (at, "")]
    assert rotated.keys[1] == a_key(seed=BOB_SEED, packages=("edge-*",), not_before=at)
    again = trust_editing.rotated(
        rotated, "acme", public_key_of(CAROL_SEED).hex(), at=render_time(LATER + DAY), now=NOW
    )
    assert [key.not_after for key in again.keys] == [at, render_time(LATER + DAY), ""]


def test_a_revocation_says_what_holds_of_older_signatures() -> None:
    """And takes the key that is in use, if the name has an ended one beside it."""
    document = a_trust_document(a_key(not_after=render_time(NOW)), a_key(seed=BOB_SEED))

    revoked = trust_editing.revoked(
        document, "acme", at=render_time(LATER), older="reject", now=NOW
    )

    assert [key.revoked_at for key in revoked.keys] == ["", render_time(LATER)]
    assert revoked.keys[1].older_signatures == "reject"


def test_a_name_with_several_keys_must_say_which() -> None:
    """Nothing is guessed, and the refusal lists them."""
    document = a_trust_document(a_key(), a_key(seed=BOB_SEED))

    with pytest.raises(trust_editing.UnknownKeyError, match="name one with --key") as caught:
        trust_editing.revoked(document, "acme", at=render_time(NOW), older="keep", now=NOW)
    with pytest.raises(trust_editing.UnknownKeyError, match="holds no such key"):
        trust_editing.revoked(document, "bob", at=render_time(NOW), older="keep", now=NOW)

    assert caught.value.reasons[0].allowed == [key.key for key in document.keys]


def test_a_threshold_that_nobody_can_reach_is_refused() -> None:
    """Holders count, not keys, and those whose key was revoked do not."""
    document = a_trust_document(
        a_key(), a_key(seed=BOB_SEED), a_key("carol", seed=CAROL_SEED, revoked_at=render_time(NOW))
    )

    with pytest.raises(trust_editing.ThresholdError) as caught:
        trust_editing.with_threshold(document, 2, now=NOW)

    assert caught.value.reasons[0].allowed == ["acme"]


def test_a_key_is_added_once() -> None:
    """Whoever is said to hold it."""
    document = a_trust_document(a_key())

    with pytest.raises(RefusedError, match="is known as acme's"):
        trust_editing.with_key(document, a_key("bob"), now=NOW)
