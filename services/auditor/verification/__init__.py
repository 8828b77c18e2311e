# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Is this log the one that was signed?  Everything in a store, derived anew, and what differs.

It needs no running auditor and trusts nothing in the store: leaves lead to tiles, tiles to roots,
and only a root that the log's key signed ends the search.
"""
