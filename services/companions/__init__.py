# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Starts, limits and watches the user-space programs that packages bring to this node.

It knows nothing of the bus: the node executor says over a unix socket what is to run, and asks what
happened.  So no end of an executor ends a companion.
"""
