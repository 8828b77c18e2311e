# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Real neighbours for tests: a bus in operator mode, credentials for every role."""
