# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What `l3af init` writes and `l3af up` runs: keys, accounts, certificates, processes.

Pure: claims, registry, server_config, certificates, verifier_key, layout, processes, supervision.
The rest is the shell around them; `adapters/` touches disk, server and children.
"""
