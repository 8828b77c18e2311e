-- SPDX-FileCopyrightText: 2026 The L3AF Bus authors
-- SPDX-License-Identifier: Apache-2.0
-- The tables of the audit log in SQLite, version 3, as they were released.
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
ALTER TABLE records ADD COLUMN licence TEXT NOT NULL DEFAULT '';
UPDATE records SET licence = CAST(body AS TEXT) ->> '$.data.details.licence' WHERE CASE
    WHEN problem <> '' THEN 0
    ELSE json_type(CAST(body AS TEXT), '$.data.details.licence') = 'text' END;
CREATE INDEX records_licence ON records (licence) WHERE licence <> '';
CREATE INDEX records_actor_trouble ON records (actor, outcome)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_package_trouble ON records (package, outcome)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_node_trouble ON records (node, outcome)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_deployment_trouble ON records (deployment, outcome)
    WHERE outcome IN ('refused', 'failed');
CREATE TABLE spans (
    block INTEGER PRIMARY KEY,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL
) STRICT;
INSERT INTO spans SELECT idx / 1024, min(time_us), max(time_us) FROM records GROUP BY 1;
CREATE TABLE hook_points (
    number INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    netns TEXT NOT NULL,
    interface TEXT NOT NULL,
    hook TEXT NOT NULL,
    UNIQUE (node, netns, interface, hook)
) STRICT;
CREATE TABLE sightings (
    point INTEGER NOT NULL,
    is_observed INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    from_us INTEGER NOT NULL
) STRICT;
CREATE INDEX sightings_order ON sightings (point, sequence, idx, from_us);
CREATE INDEX sightings_time ON sightings (point, is_observed, from_us, sequence, idx);
CREATE TABLE sighted_digests (
    digest TEXT NOT NULL,
    point INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    PRIMARY KEY (digest, point, sequence, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE inventory (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL
) STRICT;
INSERT INTO inventory VALUES (1, 0);
PRAGMA user_version = 3;
