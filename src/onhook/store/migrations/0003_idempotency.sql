-- Requests that may be sent twice and must be done once. `nonce` makes the ids of what a request creates.
CREATE TABLE idempotency (
    scope       TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    nonce       TEXT NOT NULL,
    begun_at    INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    status      INTEGER,
    answer      TEXT,
    PRIMARY KEY (scope, key)
) STRICT;
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

-- A deleted call is hidden at once, and erased when its webhooks are through.
ALTER TABLE calls ADD COLUMN deleted_at INTEGER;
CREATE INDEX calls_deleted ON calls (deleted_at) WHERE deleted_at IS NOT NULL;
