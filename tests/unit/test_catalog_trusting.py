# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the catalog does with trust documents and with versions that nobody vouches for."""

from __future__ import annotations

import msgspec
import pytest

from services.catalog.publication import NotOwnSignatureError, publication_event
from services.catalog.reviewing import event_of
from services.catalog.trusting import (
    check_caller,
    check_no_receipt,
    decide_document,
    handed_out,
    publication_warnings,
)
from shared.contracts.catalog import PackageVersion
from shared.contracts.trust import TrustRecord
from shared.dsse import SignatureError
from shared.errors import RefusedError
from shared.trust.documents import OldDocumentError, document_digest, sign_document
from shared.trust.packages import check_package
from shared.trust.receipts import unverified
from tests.package_builders import (
    NOW,
    PUBLISHER_SEED,
    STRANGER_SEED,
    TRUST_SEED,
    a_manifest,
    a_version,
    sign,
)
from tests.support.trusting import (
    BOB_SEED,
    CLOCK_SEED,
    a_key,
    a_trust,
    a_trust_document,
    signed_by,
    unsigned,
    with_receipt,
)


def test_a_publisher_publishes_what_its_own_key_signed() -> None:
    """The certificate's name is the caller's, or the refusal says both."""
    checked = check_package(sign(a_manifest()), a_trust(), now=NOW, audience="public")
    check_caller(checked, "acme")

    with pytest.raises(NotOwnSignatureError, match="acme signed this package, and paula asks"):
        check_caller(checked, "paula")


def test_any_of_several_signers_may_publish_and_nobody_else() -> None:
    """Whoever asks has signed."""
    document = a_trust_document(a_key(), a_key("bob", seed=BOB_SEED), threshold=2)
    package = signed_by(a_manifest(), PUBLISHER_SEED, BOB_SEED)
    checked = check_package(package, a_trust(document), now=NOW, audience="public")

    for name in ("acme", "bob"):
        check_caller(checked, name)
    with pytest.raises(NotOwnSignatureError, match="acme, bob signed this package"):
        check_caller(checked, "paula")


def test_what_only_foreign_keys_signed_is_published_by_whoever_may() -> None:
    """Its signers have nobody here who could ask."""
    foreign = sign(a_manifest(), trust_seed=STRANGER_SEED)
    document = a_trust_document(a_key("upstream", is_foreign=True))
    checked = check_package(foreign, a_trust(document), now=NOW, audience="public")

    check_caller(checked, "paula")


def test_nobody_brings_a_receipt_along() -> None:
    """The catalog alone says when something was published."""
    check_no_receipt(sign(a_manifest()))

    with pytest.raises(RefusedError, match=r"signed\.receipt: is the catalog's to write"):
        check_no_receipt(with_receipt(sign(a_manifest())))


def test_a_document_in_force_is_one_change_and_one_event() -> None:
    """The event says which keys came, went and changed, and is for those who see the namespace."""
    kept = a_trust_document(a_key(), a_key("bob", seed=BOB_SEED), namespace="p_acme")
    gone, stays = kept.keys
    offered = a_trust_document(
        msgspec.structs.replace(stays, revoked_at="2026-02-01T00:00:00Z"),
        a_key("eve", seed=STRANGER_SEED),
        namespace="p_acme",
        version=2,
    )
    envelope = sign_document(offered, seed=TRUST_SEED)

    decision = decide_document(kept, offered, envelope, command_id="command-1", sequence=7)

    assert decision.audience == "p_acme"
    assert decision.change is not None
    assert decision.change.key == "p_acme"
    assert decision.change.value == TrustRecord(document=envelope, command_id="command-1")
    (event,) = decision.events
    assert (event.before, event.after) == (document_digest(kept), document_digest(offered))
    assert event.details["added"] == [offered.keys[1].key]
    assert event.details["removed"] == [gone.key]
    assert event.details["changed"] == event.details["revoked"] == [stays.key]


def test_an_older_document_is_refused_whoever_pushes_it() -> None:
    """A version is in force once."""
    kept = a_trust_document(a_key(), version=3)
    for offered in (a_trust_document(version=2), a_trust_document(version=3)):
        with pytest.raises(OldDocumentError):
            decide_document(
                kept,
                offered,
                sign_document(offered, seed=TRUST_SEED),
                command_id="command-1",
                sequence=0,
            )


def test_a_version_is_handed_out_with_a_receipt_by_which_nodes_judge_it() -> None:
    """What a node is given says when it was published, and the node believes that."""
    ended = a_trust(a_trust_document(a_key(not_after="2026-03-02T00:00:00Z")))
    version = a_version()

    handed, warnings = handed_out(version, ended, clock=CLOCK_SEED, now=NOW)

    assert warnings == ()
    assert handed.signed.receipt == with_receipt(version.signed).receipt
    assert check_package(handed.signed, ended, now=NOW.replace(year=2030)).note.signers == ("acme",)


def test_what_the_keys_of_today_do_not_stand_behind_is_not_handed_out() -> None:
    """A key that was revoked with all it signed takes its versions with it."""
    key = a_key(revoked_at="2026-03-01T00:00:00Z", older_signatures="reject")

    with pytest.raises(SignatureError, match="was revoked"):
        handed_out(a_version(), a_trust(a_trust_document(key)), clock=CLOCK_SEED, now=NOW)


def nobodys() -> PackageVersion:
    """A version that nobody signed, as mode `normal` publishes it."""
    version = a_version()
    signed = unsigned(version.signed)
    note = check_package(signed, a_trust(mode="normal"), now=NOW, audience="public").note
    return msgspec.structs.replace(version, signed=signed, trust=note)


def test_what_nobody_signed_says_so_wherever_it_goes() -> None:
    """In the answer, in the receipt that nodes get, and in every event about it."""
    version = nobodys()
    handed, warnings = handed_out(version, a_trust(mode="normal"), clock=CLOCK_SEED, now=NOW)

    assert publication_warnings(version) == warnings
    assert warnings[0].startswith("NOT VERIFIED (trust mode normal): signed.")
    assert unverified(handed.signed) == warnings[0]
    for event in (
        publication_event(version.signed, version=version),
        event_of("package.deprecate", version, version),
    ):
        assert event.details["unverified"] == warnings[0]
    with pytest.raises(SignatureError):
        handed_out(version, a_trust(), clock=CLOCK_SEED, now=NOW)


def test_mode_normal_warns_of_itself_and_trusted_of_nothing() -> None:
    """Even where everything is signed, whoever publishes is told what the catalog would take."""
    version = a_version()
    good = check_package(version.signed, a_trust(mode="normal"), now=NOW, audience="public").note
    strict = check_package(version.signed, a_trust(), now=NOW, audience="public").note

    assert publication_warnings(msgspec.structs.replace(version, trust=strict)) == ()
    (warning,) = publication_warnings(msgspec.structs.replace(version, trust=good))
    assert "trust mode normal" in warning
    assert "unverified" not in publication_event(version.signed, version=version).details
