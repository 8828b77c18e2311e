# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a witness keeps: its key, the logs it knows, and the newest head of each that it cosigned.

A head is on disk before it is cosigned.  The directory belongs to one process at a time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from services.auditor.adapters.durable_files import replace_file
from services.auditor.checkpoint import (
    COSIGNATURE,
    CheckpointError,
    TreeHead,
    VerifierKey,
    parse_tree_head,
    parse_verifier_key,
    render_verifier_key,
    split_note,
    verifier_key,
)
from shared.errors import FaultError, Reason, RefusedError
from shared.validation import decode_document

SETTINGS_FILE: Final = "witness.json"
KEY_FILE: Final = "witness.key"
HEADS_DIRECTORY: Final = "heads"
EVIDENCE_DIRECTORY: Final = "evidence"
MAX_EVIDENCE_FILES: Final = 100
_SEED_BYTES: Final = 32


class WitnessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file `witness.json`."""

    name: str
    """What it signs as, by custom a URL without a scheme."""
    logs: tuple[str, ...]
    """Verifier keys of the logs that it cosigns."""


class WitnessDirectory:
    """One witness."""

    def __init__(self, path: Path, settings: WitnessSettings, seed: bytes) -> None:
        self._path: Final = path
        self.seed: Final = seed
        self.key: Final[VerifierKey] = verifier_key(settings.name, seed=seed, algorithm=COSIGNATURE)
        self.log_keys: Final[dict[str, list[VerifierKey]]] = {}
        for text in settings.logs:
            key = parse_verifier_key(text)
            self.log_keys.setdefault(key.name, []).append(key)

    @classmethod
    def create(cls, path: Path, *, name: str, logs: Sequence[str]) -> WitnessDirectory:
        """A new witness with a new key.

        Raises:
            RefusedError: There is one already, or a name or key cannot be used.
            FaultError: The directory cannot be written.
        """
        seed = secrets.token_bytes(_SEED_BYTES)
        settings = WitnessSettings(name=name, logs=_checked_logs(logs))
        made = cls(path, settings, seed)
        with _files(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (path / SETTINGS_FILE).exists() or (path / KEY_FILE).exists():
                raise RefusedError(f"{path}: there is a witness already")
            for directory in (HEADS_DIRECTORY, EVIDENCE_DIRECTORY):
                (path / directory).mkdir(mode=0o700, exist_ok=True)
            replace_file(path / KEY_FILE, f"{seed.hex()}\n".encode())
            replace_file(path / SETTINGS_FILE, _rendered(settings))
        return made

    @classmethod
    def read(cls, path: Path) -> WitnessDirectory:
        """The witness that is kept there.

        Raises:
            RefusedError: There is none, or it lost its memory: without the heads that it cosigned
                it would cosign anything.
            FaultError: It cannot be read.
        """
        settings = _settings(path)
        with _files(path):
            try:
                seed = bytes.fromhex((path / KEY_FILE).read_text(encoding="ascii"))
            except ValueError as error:
                raise RefusedError(f"{path / KEY_FILE}: is not hexadecimal") from error
            if len(seed) != _SEED_BYTES:
                raise RefusedError(f"{path / KEY_FILE}: does not hold {_SEED_BYTES} bytes")
            if not (path / HEADS_DIRECTORY).is_dir():
                raise RefusedError(
                    f"{path / HEADS_DIRECTORY}: is gone, and with it what was cosigned; "
                    "make a new witness under another name"
                )
        return cls(path, settings, seed)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A block during which no other process has this witness.

        Raises:
            FaultError: Another one has it now.
        """
        with _files(self._path):
            lock = os.open(self._path / "witness.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FaultError(f"{self._path}: another process runs this witness") from error
            yield
        finally:
            os.close(lock)

    def note(self, origin: str) -> str | None:
        """The newest cosigned head of a log, as the log signed it; None if there is none."""
        path = self._head_path(origin)
        with _files(path):
            try:
                return path.read_text(encoding="utf-8")
            except FileNotFoundError:
                return None

    def head(self, origin: str) -> TreeHead | None:
        """What that note says.

        Raises:
            FaultError: The file is damaged: nothing more of this log is cosigned.
        """
        note = self.note(origin)
        if note is None:
            return None
        try:
            return parse_tree_head(split_note(note)[0])
        except CheckpointError as error:
            raise FaultError(f"{self._head_path(origin)}: is damaged: {error.message}") from error

    def remember(self, origin: str, note: str) -> None:
        """The note is the newest of its log, on disk when this returns."""
        path = self._head_path(origin)
        with _files(path):
            replace_file(path, note.encode())

    def keep_evidence(self, note: str) -> Path | None:
        """A head that contradicts what was cosigned, signed by its log; None if there are many."""
        directory = self._path / EVIDENCE_DIRECTORY
        path = directory / f"{hashlib.sha256(note.encode()).hexdigest()}.txt"
        with _files(path):
            if not path.exists():
                if sum(1 for _ in directory.iterdir()) >= MAX_EVIDENCE_FILES:
                    return None
                replace_file(path, note.encode())
        return path

    def _head_path(self, origin: str) -> Path:
        name = hashlib.sha256(origin.encode()).hexdigest()
        return self._path / HEADS_DIRECTORY / f"{name}.txt"


def trust_logs(path: Path, logs: Sequence[str]) -> tuple[str, ...]:
    """The witness in `path` also cosigns for these keys; all that it knows then.

    Raises:
        RefusedError: There is no witness, or a key is none.
    """
    settings = _settings(path)
    known = tuple(dict.fromkeys((*settings.logs, *_checked_logs(logs))))
    with _files(path):
        replace_file(path / SETTINGS_FILE, _rendered(msgspec.structs.replace(settings, logs=known)))
    return known


def _settings(path: Path) -> WitnessSettings:
    with _files(path):
        try:
            data = (path / SETTINGS_FILE).read_bytes()
        except FileNotFoundError as error:
            raise RefusedError(f"{path}: no witness; `l3af witness init` makes one") from error
    settings = decode_document(data, WitnessSettings, what=SETTINGS_FILE)
    _checked_logs(settings.logs)
    return settings


def _checked_logs(logs: Sequence[str]) -> tuple[str, ...]:
    reasons = []
    for number, text in enumerate(logs):
        try:
            parse_verifier_key(text)
        except CheckpointError as error:
            reasons.append(Reason(path=f"logs[{number}]", rule=error.message, got=text))
    if reasons:
        raise RefusedError("not every log's verifier key can be used", reasons)
    return tuple(dict.fromkeys(logs))


def _rendered(settings: WitnessSettings) -> bytes:
    return msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n"


@contextmanager
def _files(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FaultError(f"{path}: {error.strerror or error}") from error


def rendered_key(directory: WitnessDirectory) -> str:
    """What verifiers and logs are told to trust."""
    return render_verifier_key(directory.key)
