# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A second opinion on logs and proofs, written from the standards; shares no code with the auditor.

RFC 6962 section 2.1, C2SP tlog-checkpoint and signed-note, and the envelope of the contract.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1, with the recursion flattened over a stack of complete subtrees."""
    stack: list[tuple[int, bytes]] = []
    for leaf in leaves:
        height, node = 0, hashlib.sha256(b"\x00" + leaf).digest()
        while stack and stack[-1][0] == height:
            node = hashlib.sha256(b"\x01" + stack.pop()[1] + node).digest()
            height += 1
        stack.append((height, node))
    if not stack:
        return hashlib.sha256(b"").digest()
    root = stack.pop()[1]
    while stack:
        root = hashlib.sha256(b"\x01" + stack.pop()[1] + root).digest()
    return root


def root_by_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """The root that an audit path leads to, by section 2.1.1's recursion; None if it cannot."""

    def climb(first: int, count: int, left: list[bytes]) -> bytes | None:
        if count == 1:
            return hashlib.sha256(b"\x00" + leaf).digest() if not left else None
        if not left:
            return None
        split = 1
        while split * 2 < count:
            split *= 2
        *below, sibling = left
        is_left = index < first + split
        inner = (
            climb(first, split, below) if is_left else climb(first + split, count - split, below)
        )
        if inner is None:
            return None
        pair = inner + sibling if is_left else sibling + inner
        return hashlib.sha256(b"\x01" + pair).digest()

    return climb(0, size, path) if 0 <= index < size else None


def head_of(note: str, vkey: str) -> tuple[str, int, bytes]:
    """Origin, size and root of a signed checkpoint."""
    name, key_id, encoded = vkey.split("+", 2)
    material = base64.b64decode(encoded)
    assert material[0] == 1
    assert hashlib.sha256(name.encode() + b"\n" + material).digest()[:4].hex() == key_id
    text, _, signatures = note.partition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, blob = line.split(" ")
        raw = base64.b64decode(blob)
        if dash == "\N{EM DASH}" and signer == name and raw[:4].hex() == key_id:
            Ed25519PublicKey.from_public_bytes(material[1:]).verify(raw[4:], text.encode())
            origin, size, root = text.splitlines()[:3]
            return origin, int(size), base64.b64decode(root)
    raise InvalidSignature


def verify(bundle: dict[str, Any], vkey: str) -> dict[str, Any]:
    """The envelope in a bundle, proved; AssertionError or InvalidSignature otherwise."""
    _, size, root = head_of(bundle["checkpoint"], vkey)
    leaf = bundle["leaf"].encode()
    path = [bytes.fromhex(item) for item in bundle.get("inclusion", [])]
    assert root_by_path(leaf, bundle["index"], size, path) == root
    envelope: dict[str, Any] = json.loads(leaf)
    if bundle.get("event"):
        event = bundle["event"]
        body = {"data": event["data"], "subject": event["subject"]}
        plain = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        hashed = hashlib.sha256(bytes.fromhex(event["bodysalt"]) + plain.encode())
        assert hashed.hexdigest() == envelope["bodyhash"]
    return envelope


def leaves_on_disk(state_dir: Path) -> list[bytes]:
    """Every leaf of a stopped or running auditor, by index."""
    connection = sqlite3.connect(f"file:{state_dir / 'log.db'}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT idx, leaf FROM records ORDER BY idx").fetchall()
    finally:
        connection.close()
    assert [index for index, _ in rows] == list(range(len(rows)))
    return [leaf.encode() for _, leaf in rows]


def root_on_disk(state_dir: Path) -> bytes:
    """The root that the auditor itself keeps."""
    connection = sqlite3.connect(f"file:{state_dir / 'log.db'}?mode=ro", uri=True)
    try:
        root: bytes = connection.execute("SELECT root FROM log").fetchone()[0]
    finally:
        connection.close()
    return root
