-- Stops at a later moment, of live calls only: a call that is stopped or ended takes its own along.
CREATE TABLE call_timers (
    call_id    TEXT NOT NULL REFERENCES calls (id),
    kind       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    cause      TEXT NOT NULL,
    set_at     INTEGER NOT NULL,
    request_id TEXT,
    PRIMARY KEY (call_id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX call_timers_by_moment ON call_timers (at);

-- What a restart goes on with: bulk stops whose calls were selected and perhaps not stopped.
CREATE INDEX bulk_stops_unfinished ON records (created_at)
    WHERE kind = 'bulk_stop' AND body ->> 'first' IS NULL AND body ->> 'dry_run' = 0;

-- Who did what. `seq` grows in commit order over all environments. Rows are added, never changed.
CREATE TABLE audit (
    seq            INTEGER PRIMARY KEY,
    environment_id TEXT NOT NULL,
    at             INTEGER NOT NULL,
    actor          TEXT NOT NULL,
    action         TEXT NOT NULL,
    target         TEXT NOT NULL,
    reason         TEXT,
    request_id     TEXT,
    data           TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_environment ON audit (environment_id, seq);

-- `number` counts from 1 within an environment; `hash` covers the entry and all that was sealed before it.
CREATE TABLE audit_seals (
    environment_id TEXT NOT NULL,
    number         INTEGER NOT NULL,
    seq            INTEGER NOT NULL,
    hash           TEXT NOT NULL,
    PRIMARY KEY (environment_id, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX audit_seals_by_entry ON audit_seals (environment_id, seq);
