# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How the bodies of a chain become the fewest kernel programs: the plan, and its instructions.

Planning:  `planning` asks the rules of one body (`body_rules`, `verdict_rules`), divides the chain
           (`segmentation`) and arranges each segment's stack (`arrangement`); `explanation` says
           which rules shaped the plan, `feedback` what to try when the verifier disagrees.
Emission:  `emission` writes each segment: functions that hold bodies (`holder`) and keep things
           meanwhile (`keeping`), bodies in their places (`placement`), labels (`assembly`).
Values:    `body` and `code_facts` go in, `plan` lies between, `linked_program` comes out;
           `counters` is the layout of what the programs count.
"""
