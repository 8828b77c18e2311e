# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages as OCI content: documents, references, our artifact, bpfman's images, cosign.  Pure."""
