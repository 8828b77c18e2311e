# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records of the audit log as other systems read them.

Pure.  One record is one event of theirs, whatever it holds, so that numbers of records are numbers
of events: what was taken is gone on from.
"""
