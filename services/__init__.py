# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The four services: catalog, scheduler, node executor, auditor.  They share the bus and one contract."""
