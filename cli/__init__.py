# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The `l3af` command: one module a noun; it only talks to the bus, and `up` starts processes."""
