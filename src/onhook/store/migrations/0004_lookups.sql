-- The list of one agent's calls, and how many there are.
CREATE INDEX calls_by_agent ON calls (environment_id, agent_id, created_at, id);

-- Each event asks which endpoints it concerns: those of its call's agent, and those of no agent.
CREATE INDEX webhook_by_agent ON records (environment_id, coalesce(body ->> 'agent_id', ''))
    WHERE kind = 'webhook_endpoint';

-- By call first: so a deleted call, too, can be asked whether something of it is still to be delivered.
DROP INDEX deliveries_by_call;
CREATE INDEX deliveries_by_call ON deliveries (call_id, endpoint_id, number) WHERE state IN ('due', 'inflight');

-- What the earliest databases, from before these scripts were settled, lack or have too much of.
CREATE INDEX IF NOT EXISTS calls_by_start ON calls (environment_id, coalesce(answered_at, created_at), id);
DROP INDEX IF EXISTS deliveries_inflight;
