# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which programs, in which order, on which nodes?

Answers `l3af.v1.api.scheduler.>`; asks the catalog which version meets a constraint, and the nodes
whether they can load the chains; writes `deployments`, `node_labels` and `desired`; follows
`nodes`, `observed` and heartbeats.
"""
