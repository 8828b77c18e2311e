# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whose signatures count: asked at publication by the catalog, before every load by nodes."""
