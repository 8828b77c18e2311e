# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Does this log only ever grow, and does it tell everybody the same?

A witness is another process with another key and a store of its own, best on another machine of
somebody else's.  It cosigns a log's head if it follows from every head that it cosigned before.
"""
