# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What two services use and none owns: contract, identifiers, errors, encodings, bus adapters."""
