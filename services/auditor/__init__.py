# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What happened, provably, in what order?

The auditor reads the event stream into an RFC 6962 log of its own, signs the log's head, answers
questions about it with proofs, and keeps a durable place in the stream for whoever asks for one.
It answers `l3af.v1.api.auditor.>` and `l3af.v1.api.events.>`.
"""
