# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Persons in the log: their names, keys and words are kept apart from it, and can be erased.

A record's leaf holds nothing of a person.  In its body a token stands for each of their words; the
words are sealed under a key of the person's own.  Without the key nothing leads back from tokens.
"""
