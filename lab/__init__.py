# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Test hosts on one machine: network namespaces, veth pairs, exact packet counts."""
