-- Deliveries are written with their event. `number` grows in the order of the log.
CREATE TABLE deliveries (
    number         INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    endpoint_id    TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    call_id        TEXT NOT NULL,
    seq            INTEGER NOT NULL,
    type           TEXT NOT NULL,
    event          TEXT NOT NULL,
    event_at       INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    next_at        INTEGER NOT NULL,
    state          TEXT NOT NULL,
    attempt        INTEGER NOT NULL,
    error          TEXT
) STRICT;
-- What the courier looks at: as small as what waits, however much was delivered before.
CREATE INDEX deliveries_by_moment ON deliveries (next_at) WHERE state = 'due';
CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint_id, next_at) WHERE state = 'due';
CREATE INDEX deliveries_by_call ON deliveries (endpoint_id, call_id, number) WHERE state IN ('due', 'inflight');

-- `number` grows in the order in which attempts were finished.
CREATE TABLE attempts (
    number         INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    endpoint_id    TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    body           TEXT NOT NULL
) STRICT;
CREATE INDEX attempts_by_endpoint ON attempts (endpoint_id, number);

CREATE INDEX call_events_by_time ON call_events (at);
