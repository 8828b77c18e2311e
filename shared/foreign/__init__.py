# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What others packed: archives read safely, and the packages that their objects become.  Pure."""
