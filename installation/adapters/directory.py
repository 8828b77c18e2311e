# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The installation's directory: what is private is 0600 in 0700, what is written is whole."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from installation.certificates import CertifiedKey
from installation.claims import ACCOUNT_NAMES
from installation.keys import ROLES, InstallationKeys
from installation.layout import Layout
from installation.registry import Registry, render_registry
from shared.contracts.errors import ErrorCode
from shared.errors import FaultError, Reason, RefusedError
from shared.installation_facts import InstallationFacts, parse_facts
from shared.nkeys import NKey, parse_secret

PRIVATE_FILE_MODE: Final = 0o600
PRIVATE_DIRECTORY_MODE: Final = 0o700


class InstallationDirectoryError(RefusedError):
    """The directory is not what the command needs: an installation, or a place for a new one."""

    code: ClassVar[ErrorCode] = "conflict"


class InstallationDiskError(FaultError):
    """The directory could not be read or written."""


@contextmanager
def _disk_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InstallationDiskError(f"{error.filename or path}: {error.strerror}") from error


def refuse_occupied(root: Path) -> None:
    """Returns if `root` does not exist or is empty.

    Raises:
        InstallationDirectoryError: It is an installation, or holds something else.
    """
    with _disk_faults(root):
        if not root.exists():
            return
        if Layout(root).facts.exists():
            rule = "there is an installation here already; it was not touched"
        elif not root.is_dir() or any(root.iterdir()):
            rule = "the directory is not empty; it was not touched"
        else:
            return
    raise InstallationDirectoryError(
        f"{root}: {rule}", [Reason(path="directory", rule=rule, got=str(root))]
    )


def write_installation(
    root: Path, files: Mapping[Path, bytes], *, directories: tuple[Path, ...]
) -> None:
    """Every file below `root` (absolute paths), all or none: written beside it, then renamed.

    Raises:
        InstallationDirectoryError: Something took the place meanwhile.
        InstallationDiskError: Nothing was left behind.
    """
    with _disk_faults(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        draft = root.with_name(f".{root.name}.{secrets.token_hex(4)}")
        try:
            _make_private_directory(draft)
            for directory in directories:
                _make_private_directory(draft / directory.relative_to(root))
            for path, data in files.items():
                place = draft / path.relative_to(root)
                _make_private_directory(place.parent)
                _write_synced(place, data)
            refuse_occupied(root)
            draft.rename(root)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _sync_directory(root.parent)


def write_private(path: Path, data: bytes) -> None:
    """The file holds `data`, mode 0600, on disk; a reader sees the old or the new content.

    What root writes belongs to the directory's owner, so that nats-server reads what is renewed.
    """
    with _disk_faults(path):
        _make_private_directory(path.parent)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            _write_synced(draft, data)
            if os.geteuid() == 0:
                owner = path.parent.stat()
                os.chown(draft, owner.st_uid, owner.st_gid, follow_symlinks=False)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sync_directory(path.parent)


def write_credentials(directory: Path, files: Mapping[str, bytes]) -> None:
    """The directory holds exactly these files; what it held before is gone."""
    with _disk_faults(directory):
        _make_private_directory(directory.parent)
        draft = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
        try:
            _make_private_directory(draft)
            for name, data in files.items():
                _write_synced(draft / name, data)
            shutil.rmtree(directory, ignore_errors=True)
            draft.rename(directory)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _sync_directory(directory.parent)


def remove_credentials(directory: Path) -> None:
    """The directory is gone."""
    with _disk_faults(directory):
        if directory.exists():
            shutil.rmtree(directory)


@contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """One change of keys or registry at a time, between processes."""
    with _disk_faults(layout.lock):
        descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT, PRIVATE_FILE_MODE)
    try:
        with _disk_faults(layout.lock):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_facts(layout: Layout) -> InstallationFacts:
    """The public facts.

    Raises:
        InstallationDirectoryError: The directory is not an installation.
    """
    if not layout.facts.is_file():
        rule = "is not an installation; `l3af init` makes one"
        raise InstallationDirectoryError(
            f"{layout.root}: {rule}",
            [Reason(path="directory", rule=rule, got=str(layout.root))],
            code="not_found",
        )
    return parse_facts(read_bytes(layout.facts))


def read_registry(layout: Layout) -> Registry:
    """Who has credentials."""
    try:
        return msgspec.json.decode(read_bytes(layout.registry), type=Registry)
    except msgspec.DecodeError as error:
        raise InstallationDiskError(f"{layout.registry}: {error}") from error


def write_registry(layout: Layout, registry: Registry) -> None:
    """The registry is on disk."""
    write_private(layout.registry, render_registry(registry))


def read_keys(layout: Layout) -> InstallationKeys:
    """Every secret of `operator/`."""
    return InstallationKeys(
        operator=_read_key(layout.operator_seed),
        accounts={name: _read_key(layout.account_seed(name)) for name in ACCOUNT_NAMES},
        roles={role: _read_key(layout.role_seed(role)) for role in ROLES},
        trust_root=bytes.fromhex(read_bytes(layout.trust_root_seed).decode()),
    )


def key_files(layout: Layout, keys: InstallationKeys) -> dict[Path, bytes]:
    """What `read_keys` reads."""
    files = {
        layout.operator_seed: keys.operator,
        **{layout.account_seed(name): key for name, key in keys.accounts.items()},
        **{layout.role_seed(role): key for role, key in keys.roles.items()},
    }
    seeds = {path: key.secret.encode() + b"\n" for path, key in files.items()}
    return {**seeds, layout.trust_root_seed: keys.trust_root.hex().encode() + b"\n"}


def read_authority(layout: Layout) -> CertifiedKey | None:
    """The certificate authority; None if the installation has no TLS listener."""
    if not layout.ca_key.exists():
        return None
    return CertifiedKey(read_bytes(layout.ca_certificate), read_bytes(layout.ca_key))


def read_bytes(path: Path) -> bytes:
    """The whole file."""
    with _disk_faults(path):
        return path.read_bytes()


def _read_key(path: Path) -> NKey:
    return parse_secret(read_bytes(path).decode().strip())


def _make_private_directory(path: Path) -> None:
    for directory in reversed([path, *path.parents]):
        if not directory.exists():
            directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
