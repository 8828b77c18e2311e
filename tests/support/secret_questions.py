# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a stranger may ask the catalog about a secret, and about what is not there.

One row for each way; an endpoint that is in no row fails `test_visibility_difference`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from shared.contracts.base import Endpoint, Request
from shared.contracts.catalog import (
    CHUNK_BYTES,
    FIND_MISSING,
    GET_PACKAGE,
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    READ_ARCHIVE,
    WRITE_ARTIFACT,
    FindMissing,
    GetPackage,
    ListPackages,
    PublishPackage,
    ReadArchive,
    SignedPackage,
    WriteArtifact,
)
from shared.contracts.notices import GET_NOTICE, GetNotice
from shared.contracts.overlays import GET_OVERLAY, GetOverlay
from shared.contracts.ratings import (
    LIST_RATINGS,
    RATE_PACKAGE,
    REMOVE_RATING,
    ListRatings,
    RatePackage,
    RemoveRating,
)
from shared.contracts.reviews import (
    APPROVE_PACKAGE,
    DEPRECATE_PACKAGE,
    GET_REVIEW,
    LIST_OWNERS,
    PROMOTE_PACKAGE,
    REVIEW_PACKAGE,
    REVOKE_PACKAGE,
    SET_OWNERS,
    SUBMIT_PACKAGE,
    YANK_PACKAGE,
    ApprovePackage,
    DeprecatePackage,
    GetReview,
    ListOwners,
    PromotePackage,
    ReviewPackage,
    RevokePackage,
    SetOwners,
    SubmitPackage,
    YankPackage,
)
from shared.contracts.sbom import GET_BILL, GetBill
from shared.contracts.search import FIND_SHARING, SEARCH_PACKAGES, FindSharing, SearchPackages
from shared.contracts.spaces import (
    CREATE_SPACE,
    GET_SPACE,
    LIFT_SPACE,
    LIST_SPACES,
    UPDATE_SPACE,
    CreateSpace,
    GetSpace,
    LiftSpace,
    ListSpaces,
    UpdateSpace,
)
from shared.contracts.trust import GET_TRUST, SET_TRUST, GetTrust, SetTrust
from shared.contracts.verification import GET_MATRIX, VERIFY_PACKAGE, GetMatrix, VerifyPackage
from shared.contracts.waivers import (
    GRANT_WAIVER,
    LIST_WAIVERS,
    REQUEST_WAIVER,
    REVOKE_WAIVER,
    GrantWaiver,
    ListWaivers,
    RequestWaiver,
    RevokeWaiver,
    WaiverScope,
)
from tests.package_builders import a_certificate, sign
from tests.support.catalog_stage import BUILT

VERSION: Final = "1.0.0"


@dataclass(frozen=True)
class Kind:
    """What a request is about: something that is there, or something like it that is not."""

    package: str
    space: str
    archive: str
    """Its digest."""
    manifest: str
    """Its digest."""
    waiver: str
    namespace: str
    quiet: str
    """A package and deployment that only the log is asked about: what is asked of others it has."""
    size_bytes: int = 0
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (
            "package",
            "space",
            "archive",
            "manifest",
            "waiver",
            "namespace",
            "quiet",
        ):
            self.names[getattr(self, name)] = f"<{name}>"


Make = Callable[[Kind], Request]
Row = tuple[Endpoint[Any, Any], Make]


def _version(kind: Kind, **more: Any) -> dict[str, Any]:
    return {"name": kind.package, "version": VERSION, "reason": "why", **more}


def _signed(kind: Kind) -> SignedPackage:
    """Eve's word for a package with the archive of that kind."""
    manifest = msgspec.structs.replace(BUILT.manifest, name="of-eve")
    signed = sign(manifest, certificate=a_certificate(publisher="eve"))
    return msgspec.structs.replace(signed, archive_sha256=kind.archive)


def _waiver(kind: Kind) -> RequestWaiver:
    scope = WaiverScope(rule="policy-groups", package="one", versions="*", space=kind.space)
    return RequestWaiver(scope=scope, expires_at="2026-12-31T00:00:00Z", reason="why")


ROWS: Final[dict[str, Row]] = {
    "list": (LIST_PACKAGES, lambda kind: ListPackages(name=kind.package)),
    "list after": (LIST_PACKAGES, lambda kind: ListPackages(name="*", after=kind.package)),
    "get": (GET_PACKAGE, lambda kind: GetPackage(name=kind.package, version=VERSION)),
    "get newest": (GET_PACKAGE, lambda kind: GetPackage(name=kind.package)),
    "get in space": (GET_PACKAGE, lambda kind: GetPackage(name=kind.package, space=kind.space)),
    "search": (SEARCH_PACKAGES, lambda kind: SearchPackages(words=kind.package)),
    "search all": (
        SEARCH_PACKAGES,
        lambda kind: SearchPackages(every_version=True, withdrawn=True, space=kind.space),
    ),
    "overlay": (GET_OVERLAY, lambda kind: GetOverlay(space=kind.namespace)),
    "sharing": (FIND_SHARING, lambda kind: FindSharing(name=kind.package)),
    "ratings": (LIST_RATINGS, lambda kind: ListRatings(name=kind.package)),
    "read archive": (READ_ARCHIVE, lambda kind: ReadArchive(name=kind.package, version=VERSION)),
    "matrix": (GET_MATRIX, lambda kind: GetMatrix(name=kind.package)),
    "notice": (GET_NOTICE, lambda kind: GetNotice(name=kind.package)),
    "bill": (GET_BILL, lambda kind: GetBill(name=kind.package)),
    "standing": (GET_REVIEW, lambda kind: GetReview(name=kind.package)),
    "owners": (LIST_OWNERS, lambda kind: ListOwners(package=kind.package)),
    "waivers": (LIST_WAIVERS, lambda kind: ListWaivers(package=kind.package, ended=True)),
    "trust": (GET_TRUST, lambda kind: GetTrust(namespace=kind.namespace)),
    "spaces": (LIST_SPACES, lambda _: ListSpaces(lifted=True)),
    "space": (GET_SPACE, lambda kind: GetSpace(space=kind.space)),
    "namespace": (GET_SPACE, lambda kind: GetSpace(space=kind.namespace)),
    "missing chunks": (
        FIND_MISSING,
        lambda kind: FindMissing(sha256=kind.archive, size_bytes=kind.size_bytes),
    ),
    "write chunk": (
        WRITE_ARTIFACT,
        lambda kind: WriteArtifact(
            sha256=kind.archive,
            size_bytes=CHUNK_BYTES + 1,
            offset_bytes=CHUNK_BYTES,
            data=b"x",
        ),
    ),
    "publish into space": (
        PUBLISH_PACKAGE,
        lambda kind: PublishPackage(signed=_signed(kind), space=kind.space),
    ),
    "publish archive": (PUBLISH_PACKAGE, lambda kind: PublishPackage(signed=_signed(kind))),
    "verify": (VERIFY_PACKAGE, lambda kind: VerifyPackage(**_version(kind))),
    "request waiver": (REQUEST_WAIVER, _waiver),
    "grant waiver": (GRANT_WAIVER, lambda kind: GrantWaiver(waiver=kind.waiver)),
    "revoke waiver": (REVOKE_WAIVER, lambda kind: RevokeWaiver(waiver=kind.waiver)),
    "submit": (SUBMIT_PACKAGE, lambda kind: SubmitPackage(**_version(kind, channel="stable"))),
    "promote": (PROMOTE_PACKAGE, lambda kind: PromotePackage(**_version(kind, to="stable"))),
    "promote in space": (
        PROMOTE_PACKAGE,
        lambda kind: PromotePackage(**_version(kind, to="stable", space=kind.space)),
    ),
    "deprecate": (DEPRECATE_PACKAGE, lambda kind: DeprecatePackage(**_version(kind))),
    "yank": (YANK_PACKAGE, lambda kind: YankPackage(**_version(kind))),
    "review": (REVIEW_PACKAGE, lambda kind: ReviewPackage(**_version(kind))),
    "approve": (
        APPROVE_PACKAGE,
        lambda kind: ApprovePackage(**_version(kind, manifest_sha256=kind.manifest)),
    ),
    "revoke": (REVOKE_PACKAGE, lambda kind: RevokePackage(**_version(kind))),
    "rate": (RATE_PACKAGE, lambda kind: RatePackage(**_version(kind, stars=5))),
    "unrate": (REMOVE_RATING, lambda kind: RemoveRating(**_version(kind, author="acme"))),
    "set owners": (
        SET_OWNERS,
        lambda kind: SetOwners(packages="*", owners=("eve",), space=kind.space),
    ),
    "remove owners": (SET_OWNERS, lambda kind: SetOwners(packages=kind.package)),
    "set trust": (SET_TRUST, lambda kind: SetTrust(document=_signed(kind).manifest)),
    "make namespace": (
        CREATE_SPACE,
        lambda kind: CreateSpace(kind="embargo", namespace="of-eve", members=(kind.package,)),
    ),
    "update space": (UPDATE_SPACE, lambda kind: UpdateSpace(space=kind.space, add=("eve",))),
    "lift space": (LIFT_SPACE, lambda kind: LiftSpace(space=kind.space)),
}
"""Asked by somebody who sees neither.  None of these changes anything, whichever kind it is about.

A private namespace's own name is no secret from who may make one: `CREATE_SPACE` of a name that is
taken is a conflict.
"""
