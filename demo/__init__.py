# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The story of `make demo`: the whole product once, with real parts, every claim checked."""
