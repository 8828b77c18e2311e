# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What `AUDITOR_STORE` may say, and that nobody is shown the password in it."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from services.auditor.adapters.log_stores import open_store
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.config import AuditorConfig
from services.auditor.store import StoreFaultError
from shared.errors import FaultError, RefusedError
from tests.support.log_stores import ORIGIN

SECRET = "hunter2"


def config(store: str, tmp_path: Path) -> AuditorConfig:
    """With this store."""
    return AuditorConfig(credentials_dir=tmp_path, state_dir=tmp_path / "state", store=store)


@pytest.mark.parametrize("store", ["", "sqlite"])
async def test_a_file_unless_something_else_is_said(tmp_path: Path, store: str) -> None:
    """Empty and `sqlite` mean the file in the state directory."""
    opened = await open_store(config(store, tmp_path), origin=ORIGIN)
    await opened.aclose()

    assert isinstance(opened, SqliteStore)
    assert (tmp_path / "state" / "log.db").is_file()


@pytest.mark.parametrize(
    "store",
    [
        f"mysql://auditor:{SECRET}@host/log",
        f"auditor:{SECRET}@host",
        f"postgresql://auditor:{SECRET}@host:port/log",
        f"postgresql://auditor:{SECRET}@[::1/log",
        f"postgresql://auditor:{SECRET}@host/log?sslmode=never",
        f"postgresql://auditor:{SECRET}@/log?host=/nowhere",
    ],
)
async def test_a_store_that_cannot_be_used_is_said_without_its_password(
    tmp_path: Path, store: str
) -> None:
    """What is no store is refused, what cannot be reached is a fault; neither shows the URL."""
    with pytest.raises((RefusedError, FaultError)) as caught:
        await open_store(config(store, tmp_path), origin=ORIGIN)

    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert isinstance(caught.value, (RefusedError, FaultError))
    assert SECRET not in repr(caught.value.refusal())
    if "nowhere" in store:
        assert isinstance(caught.value, StoreFaultError)
