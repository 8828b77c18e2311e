# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Catalog, scheduler, node executor, auditor: they share the bus and one contract."""
