# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an administrator renews can be read by the user that nats-server runs as."""

from __future__ import annotations

import os
from pathlib import Path

from installation.adapters.directory import write_private

NOBODY = 65534


def test_what_root_writes_belongs_to_the_directorys_owner(tmp_path: Path) -> None:
    """A file that is replaced or new gets the owner of its directory, and stays private."""
    server = tmp_path / "server"
    server.mkdir()
    os.chown(server, NOBODY, NOBODY)

    write_private(server / "server.key", b"one")
    write_private(server / "server.key", b"two")

    status = (server / "server.key").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (NOBODY, NOBODY, 0o600)
