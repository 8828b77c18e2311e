-- SPDX-FileCopyrightText: 2026 The L3AF Bus authors
-- SPDX-License-Identifier: Apache-2.0
-- The tables of the audit log in PostgreSQL, format 3, as they were released.
CREATE TABLE log (
    one BOOLEAN PRIMARY KEY CHECK (one),
    format INTEGER NOT NULL,
    origin TEXT NOT NULL,
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    stream_id TEXT NOT NULL,
    stream_sequence BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    holder TEXT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE records (
    idx BIGINT NOT NULL,
    emitter TEXT COLLATE "C" NOT NULL,
    audience TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    time_us BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    stream_sequence BIGINT NOT NULL,
    leaf TEXT COLLATE "C" NOT NULL,
    body BYTEA,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    package TEXT COLLATE "C" NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    deployment TEXT COLLATE "C" NOT NULL,
    correlation TEXT COLLATE "C" NOT NULL,
    problem TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (idx, received_us)
) PARTITION BY RANGE (received_us);
CREATE INDEX records_time ON records (time_us);
CREATE INDEX records_action ON records (action, idx);
CREATE INDEX records_actor ON records (actor, idx) WHERE actor <> '';
CREATE INDEX records_package ON records (package, idx) WHERE package <> '';
CREATE INDEX records_node ON records (node, idx) WHERE node <> '';
CREATE INDEX records_deployment ON records (deployment, idx) WHERE deployment <> '';
CREATE INDEX records_correlation ON records (correlation, idx) WHERE correlation <> '';
CREATE INDEX records_trouble ON records (outcome, idx) WHERE outcome IN ('refused', 'failed');
CREATE TABLE event_ids (
    emitter TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    idx BIGINT NOT NULL,
    PRIMARY KEY (emitter, event_id)
);
CREATE TABLE tiles (
    level INTEGER NOT NULL,
    position BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (level, position)
);
ALTER TABLE tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;
CREATE TABLE channels (
    emitter TEXT COLLATE "C" NOT NULL,
    audience TEXT COLLATE "C" NOT NULL,
    head BIGINT NOT NULL,
    missing TEXT NOT NULL,
    PRIMARY KEY (emitter, audience)
);
CREATE TABLE gaps (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gap TEXT NOT NULL,
    is_announced BOOLEAN NOT NULL
);
CREATE TABLE checkpoints (
    size BIGINT PRIMARY KEY,
    note TEXT NOT NULL,
    signed_us BIGINT NOT NULL
);
ALTER TABLE records ADD COLUMN licence TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE records SET licence = CASE
    WHEN problem <> '' OR body IS NULL OR position('\u0000' IN convert_from(body, 'UTF8')) > 0
        THEN ''
    WHEN json_typeof(convert_from(body, 'UTF8')::json #> '{data,details,licence}') = 'string'
        THEN left(convert_from(body, 'UTF8')::json #>> '{data,details,licence}', 250)
    ELSE '' END;
CREATE INDEX records_licence ON records (licence, idx) WHERE licence <> '';
CREATE INDEX records_actor_trouble ON records (actor, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_package_trouble ON records (package, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_node_trouble ON records (node, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_deployment_trouble ON records (deployment, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE TABLE spans (
    block BIGINT PRIMARY KEY,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL
);
INSERT INTO spans SELECT idx / 1024, min(time_us), max(time_us) FROM records GROUP BY 1;
CREATE TABLE hook_points (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node TEXT COLLATE "C" NOT NULL,
    netns TEXT COLLATE "C" NOT NULL,
    interface TEXT COLLATE "C" NOT NULL,
    hook TEXT COLLATE "C" NOT NULL,
    UNIQUE (node, netns, interface, hook)
);
CREATE TABLE sightings (
    point BIGINT NOT NULL,
    is_observed BOOLEAN NOT NULL,
    sequence BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    from_us BIGINT NOT NULL
);
CREATE INDEX sightings_order ON sightings (point, sequence, idx);
CREATE INDEX sightings_time ON sightings (point, is_observed, from_us, sequence, idx);
CREATE TABLE sighted_digests (
    digest TEXT COLLATE "C" NOT NULL,
    point BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    PRIMARY KEY (digest, point, sequence, idx)
);
CREATE TABLE inventory (
    one BOOLEAN PRIMARY KEY CHECK (one),
    size BIGINT NOT NULL
);
INSERT INTO inventory VALUES (true, 0);
