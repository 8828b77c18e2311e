-- SPDX-FileCopyrightText: 2026 The L3AF Bus authors
-- SPDX-License-Identifier: Apache-2.0
-- The tables of the audit log in SQLite, version 1, as they were released.
CREATE TABLE log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    stream_id TEXT NOT NULL,
    stream_sequence INTEGER NOT NULL
) STRICT;
CREATE TABLE records (
    idx INTEGER PRIMARY KEY,
    emitter TEXT NOT NULL,
    audience TEXT NOT NULL,
    event_id TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    leaf TEXT NOT NULL,
    body BLOB,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    package TEXT NOT NULL,
    node TEXT NOT NULL,
    deployment TEXT NOT NULL,
    correlation TEXT NOT NULL,
    problem TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_event ON records (emitter, event_id) WHERE event_id <> '';
CREATE INDEX records_time ON records (time_us);
CREATE INDEX records_action ON records (action);
CREATE INDEX records_actor ON records (actor) WHERE actor <> '';
CREATE INDEX records_package ON records (package) WHERE package <> '';
CREATE INDEX records_node ON records (node) WHERE node <> '';
CREATE INDEX records_deployment ON records (deployment) WHERE deployment <> '';
CREATE INDEX records_correlation ON records (correlation) WHERE correlation <> '';
CREATE INDEX records_trouble ON records (outcome) WHERE outcome IN ('refused', 'failed');
CREATE TABLE tiles (
    level INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, position)
) STRICT;
CREATE TABLE channels (
    emitter TEXT NOT NULL,
    audience TEXT NOT NULL,
    head INTEGER NOT NULL,
    missing TEXT NOT NULL,
    PRIMARY KEY (emitter, audience)
) STRICT;
CREATE TABLE gaps (
    number INTEGER PRIMARY KEY,
    gap TEXT NOT NULL,
    is_announced INTEGER NOT NULL
) STRICT;
CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    note TEXT NOT NULL,
    signed_us INTEGER NOT NULL
) STRICT;
PRAGMA user_version = 1;
