# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where the catalog touches the outside: archives in JetStream, unfinished uploads on disk."""
