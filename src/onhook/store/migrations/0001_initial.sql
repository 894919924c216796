-- Times are ms since the epoch (UTC). Structured values are JSON text.

-- Configuration objects of all kinds. An environment belongs to itself.
CREATE TABLE records (
    kind           TEXT NOT NULL,
    id             TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    body           TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
CREATE INDEX records_by_environment ON records (kind, environment_id, created_at);
CREATE UNIQUE INDEX number_by_value ON records (environment_id, body ->> 'number') WHERE kind = 'number';
CREATE INDEX api_key_by_hash ON records (body ->> 'token_sha256') WHERE kind = 'api_key';

CREATE TABLE calls (
    id                   TEXT NOT NULL PRIMARY KEY,
    environment_id       TEXT NOT NULL,
    agent_id             TEXT NOT NULL,
    trunk_id             TEXT NOT NULL,
    dialect              TEXT NOT NULL,
    direction            TEXT NOT NULL,
    from_number          TEXT NOT NULL,
    to_number            TEXT NOT NULL,
    state                TEXT NOT NULL,
    sip_call_id          TEXT NOT NULL,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    max_duration_ms      INTEGER NOT NULL,
    ring_timeout_ms      INTEGER NOT NULL,
    dial_at              INTEGER,
    deadline_at          INTEGER,
    dialed_at            INTEGER,
    first_provisional_at INTEGER,
    ringing_at           INTEGER,
    answered_at          INTEGER,
    answered_on_wire_at  INTEGER,
    ended_at             INTEGER,
    outcome              TEXT,
    cause                TEXT,
    stop                 TEXT,
    proof                TEXT,
    details              TEXT NOT NULL,
    last_seq             INTEGER NOT NULL
) STRICT;
CREATE INDEX calls_by_sip_call_id ON calls (sip_call_id);
CREATE INDEX calls_by_creation ON calls (environment_id, created_at, id);
CREATE INDEX calls_by_start ON calls (environment_id, coalesce(answered_at, created_at), id);
-- What clocks and sweeps look at: as small as the number of live calls, however long the history.
CREATE INDEX calls_unsettled ON calls (environment_id, created_at, id) WHERE state <> 'ended';
CREATE INDEX calls_to_dial ON calls (dial_at) WHERE state = 'scheduled';
CREATE INDEX calls_by_deadline ON calls (deadline_at)
    WHERE state IN ('answered', 'dialing', 'ringing', 'scheduled');
CREATE INDEX calls_ending ON calls (ended_at) WHERE state = 'ending';

-- `id` grows in commit order over all calls; `seq` counts from 1 without a gap within one.
CREATE TABLE call_events (
    id      INTEGER PRIMARY KEY,
    call_id TEXT NOT NULL REFERENCES calls (id),
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    type    TEXT NOT NULL,
    data    TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX call_events_by_seq ON call_events (call_id, seq);

CREATE TABLE snapshots (
    call_id  TEXT NOT NULL PRIMARY KEY REFERENCES calls (id),
    snapshot BLOB NOT NULL
) STRICT;

-- One row, written by the health check.
CREATE TABLE heartbeat (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL) STRICT;
INSERT INTO heartbeat VALUES (1, 0);
