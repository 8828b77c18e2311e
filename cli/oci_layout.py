# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A folder with OCI content (image-spec 1.1, image-layout.md): a registry to carry about.

`oci-layout` says what it is, `index.json` names what is in it by tag, and `blobs/sha256/` holds it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from shared.errors import Reason, RefusedError
from shared.oci.documents import (
    INDEX,
    MAX_DOCUMENT_BYTES,
    REF_NAME,
    Descriptor,
    ImageIndex,
    OciContent,
    check_blob,
    check_digest,
    encode,
    parse_document,
    refused,
)

MARK: Final = "oci-layout"
_VERSION: Final = b'{"imageLayoutVersion":"1.0.0"}'


def is_layout(folder: Path) -> bool:
    """Whether the folder holds OCI content."""
    return (folder / MARK).is_file()


class Layout:
    """One such folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self._folder: Final = folder

    def document(self, name: str) -> tuple[Descriptor, bytes] | None:
        """The manifest or index with this tag or digest; None: there is none.

        An empty name is the only one that there is.

        Raises:
            OciError: It is not what its digest says.
            RefusedError: It cannot be read, or the name is empty and there are several.
        """
        listed = self._index().manifests
        found = [
            one
            for one in listed
            if name in (one.digest, one.annotations.get(REF_NAME, "")) or not name
        ]
        if not name:
            found = [one for one in found if not _is_beside(one)]
        if len(found) > 1 and not name:
            tags = sorted(one.annotations.get(REF_NAME, one.digest) for one in found)
            rule = "holds several: name one with --tag"
            reason = Reason(path=str(self._folder), rule=rule, allowed=tags)
            raise RefusedError(f"{self._folder} {rule}", [reason])
        if found:
            return found[0], self.blob(found[0])
        return None

    def blob(
        self, wanted: Descriptor, show_progress: Callable[[int], object] = lambda _: None
    ) -> bytes:
        """The bytes of a descriptor.

        Raises:
            OciError: They are not what the descriptor says.
            RefusedError: They cannot be read.
        """
        check_digest(wanted.digest, path="digest")
        data = self._read(f"blobs/{wanted.digest.replace(':', '/')}", wanted.size)
        show_progress(len(data))
        return check_blob(data, wanted)

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """What the layout lists as referring to the digest."""
        found = self.document(digest.replace(":", "-"))
        if found is None:
            return ()
        index = parse_document(found[1], found[0].media_type, path="referrers")
        return index.manifests if isinstance(index, ImageIndex) else ()

    def push(
        self, content: OciContent, tag: str, show_progress: Callable[[int], object] = lambda _: None
    ) -> None:
        """All of the content is there, and the tag leads to it; other tags stay.

        Raises:
            RefusedError: The folder holds something else, or cannot be written.
        """
        try:
            held = is_layout(self._folder)
            if not held and self._folder.exists() and any(self._folder.iterdir()):
                rule = "holds something else than OCI content"
                raise RefusedError(
                    f"{self._folder} {rule}", [Reason(path=str(self._folder), rule=rule)]
                )
            before = self._index().manifests if held else ()
            blobs = self._folder / "blobs" / "sha256"
            blobs.mkdir(parents=True, exist_ok=True)
            done = 0
            for digest, data in _all(content).items():
                _write(blobs / digest.removeprefix("sha256:"), data)
                done += len(data)
                show_progress(done)
            tagged = msgspec.structs.replace(
                content.root, annotations={**content.root.annotations, REF_NAME: tag}
            )
            kept = tuple(one for one in before if one.annotations.get(REF_NAME) != tag)
            index = ImageIndex(schema_version=2, media_type=INDEX, manifests=(*kept, tagged))
            _write(self._folder / "index.json", encode(index))
            _write(self._folder / MARK, _VERSION)
        except OSError as error:
            rule = f"cannot be written: {error.strerror}"
            raise RefusedError(
                f"{self._folder} {rule}", [Reason(path=str(self._folder), rule=rule)]
            ) from error

    def _index(self) -> ImageIndex:
        data = self._read("index.json", MAX_DOCUMENT_BYTES)
        document = parse_document(data, INDEX, path="index.json")
        assert isinstance(document, ImageIndex)
        return document

    def _read(self, name: str, most_bytes: int) -> bytes:
        path = self._folder / name
        try:
            with path.open("rb") as file:
                data = file.read(most_bytes + 1)
        except OSError as error:
            reason = Reason(path=str(path), rule=f"cannot be read: {error.strerror}")
            raise RefusedError(f"{path}: {reason.rule}", [reason]) from error
        if len(data) > most_bytes:
            raise refused(name, "is larger than it may be", allowed=most_bytes)
        return data


def _is_beside(descriptor: Descriptor) -> bool:
    """Whether it is a signature or a list of referrers, and nothing of its own."""
    return descriptor.annotations.get(REF_NAME, "").startswith("sha256-")


def _all(content: OciContent) -> dict[str, bytes]:
    documents = {digest: data for digest, (_, data) in content.documents.items()}
    return {**content.blobs, **documents}


def _write(path: Path, data: bytes) -> None:
    """The file is whole or not there."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    Path(file.name).chmod(0o644)
    Path(file.name).rename(path)
