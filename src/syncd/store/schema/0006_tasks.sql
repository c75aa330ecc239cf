-- Tasks that end with the process, tasks asked for again, one of a record at a time, and counts that stay cheap.
-- previous release: runs

ALTER TABLE syncd.tasks
    ADD COLUMN lost      integer NOT NULL DEFAULT 0,
    ADD COLUMN suspicion smallint NOT NULL DEFAULT 0,
    ADD COLUMN wanted_at timestamptz;
COMMENT ON COLUMN syncd.tasks.lost IS 'Takes that ended with the process. They are among the attempts and are nobody''s failure.';
COMMENT ON COLUMN syncd.tasks.suspicion IS
    'How likely it is that the task itself ends the process: two of the takes that were lost count, then only those lost while it was being handled. Five: a dead letter.';
COMMENT ON COLUMN syncd.tasks.wanted_at IS 'When it was last asked for. What was fetched later than that answers it.';

-- What may be taken is looked for queue by queue, so that what is paused or put off costs no look anything: of a resource and
-- lane first come those that were never put off, oldest first (their not_before is NULL), then those that are due.
DROP INDEX syncd.tasks_ready;
CREATE INDEX tasks_ready ON syncd.tasks (integration, resource, lane, not_before, id) WHERE state = 'waiting';
-- A record's work is done in order: while one task of a key is under way, the next waits.
CREATE INDEX tasks_under_way ON syncd.tasks (integration, dedupe_key) WHERE state = 'taken' AND dedupe_key IS NOT NULL;
CREATE INDEX tasks_poison ON syncd.tasks (integration, id) WHERE state = 'waiting' AND suspicion >= 5;
CREATE INDEX tasks_expiring ON syncd.tasks (integration, expires_at) WHERE state = 'waiting' AND expires_at IS NOT NULL;
CREATE INDEX dead_letters_poison ON syncd.dead_letters (integration, id) WHERE state = 'open' AND error_class = 'PoisonError';

CREATE OR REPLACE FUNCTION syncd.put_tasks(p_integration text, p_now timestamptz, wanted jsonb) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    made integer;
BEGIN
    INSERT INTO syncd.tasks AS k (
        integration, kind, resource, external_id, parent_id, payload, lane, dedupe_key, not_before, expires_at, created_at,
        wanted_at, cause, suspicion)
    SELECT DISTINCT ON (coalesce('=' || t.dedupe_key, n::text))
        p_integration, t.kind, coalesce(t.resource, ''), t.external_id, t.parent_id, coalesce(t.payload, '{}'),
        coalesce(t.lane, 1), t.dedupe_key, t.not_before, t.expires_at, p_now,
        least(max(coalesce(t.wanted_at, p_now)) OVER (PARTITION BY coalesce('=' || t.dedupe_key, n::text)), p_now),
        coalesce(t.cause, ''),
        coalesce(t.suspicion, 0)
    FROM ROWS FROM (jsonb_to_recordset(wanted) AS (
            kind text, resource text, external_id text, parent_id text, payload jsonb, lane smallint, dedupe_key text,
            not_before timestamptz, expires_at timestamptz, cause text, wanted_at timestamptz, suspicion smallint)) WITH ORDINALITY
        AS t(kind, resource, external_id, parent_id, payload, lane, dedupe_key, not_before, expires_at, cause, wanted_at,
             suspicion, n)
    ORDER BY coalesce('=' || t.dedupe_key, n::text), coalesce(t.lane, 1)
    ON CONFLICT (integration, dedupe_key) WHERE state = 'waiting' AND dedupe_key IS NOT NULL
    DO UPDATE SET
        lane = least(k.lane, excluded.lane),
        payload = excluded.payload,
        wanted_at = greatest(k.wanted_at, excluded.wanted_at),
        suspicion = greatest(k.suspicion, excluded.suspicion),
        not_before = CASE  -- NULL is at once; work that is being put off after a failure stays put off
            WHEN k.attempts > k.lost THEN k.not_before
            WHEN k.not_before IS NOT NULL AND excluded.not_before IS NOT NULL THEN least(k.not_before, excluded.not_before)
        END,
        expires_at = CASE
            WHEN k.expires_at IS NOT NULL AND excluded.expires_at IS NOT NULL THEN greatest(k.expires_at, excluded.expires_at)
        END;
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END
$$;

-- What is learned of how deliveries usually come, and the silence that was told of.
CREATE TABLE syncd.arrivals (
    integration      text COLLATE "C" NOT NULL,
    hour             timestamptz NOT NULL,
    deliveries       bigint NOT NULL,
    longest_seconds  double precision NOT NULL,
    PRIMARY KEY (integration, hour)
) WITH (fillfactor = 50);
COMMENT ON TABLE syncd.arrivals IS 'Webhook deliveries of one hour of the last days, and the longest time without one that ended in it.';

CREATE TABLE syncd.silences (
    integration  text COLLATE "C" NOT NULL PRIMARY KEY,
    since        timestamptz NOT NULL,
    told_at      timestamptz NOT NULL,
    usual        text NOT NULL DEFAULT '',
    missed       boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE syncd.silences IS 'An integration whose webhooks stopped coming: since when, and whether anything was missed by it.';
