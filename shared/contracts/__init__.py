# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every subject, message, KV record, event and error code, by the service that owns it.

JSON on the wire.  Requests and documents refuse unknown fields; replies, events and records
tolerate them, so that one release can talk to the next.
"""
