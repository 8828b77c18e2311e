# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which release this is."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
"""As pyproject.toml says."""
