# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Watch rules: records that somebody wants to be told of become alerts in the stream.

`rules` says what a rule means, `evaluation` which records it meets, `alerts` what is said;
`service` and `execution` are the shells.
"""
