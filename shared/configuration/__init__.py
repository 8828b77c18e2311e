# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration of maps and global variables: JSON and the bytes that the kernel keeps."""
