# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every test of this folder may ask for a whole system."""

from __future__ import annotations

from tests.systems import deployment_text, system

__all__ = ["deployment_text", "system"]
