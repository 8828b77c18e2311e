# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a new revision reaches its nodes: in waves, each for as long as it is well."""
