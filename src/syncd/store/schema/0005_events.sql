-- What is learned from deliveries: which are in hand, how often one died with its process, and the event types that come.
-- previous release: runs
--
-- Which deliveries are in hand is one row for a whole batch, written before the first of them is read and deleted by the
-- transaction that finishes them. What a dead process leaves behind is such a row: its deliveries are free again at once, and
-- each of them is known to have died once more. So taking a thousand deliveries costs one small row, not a thousand.

ALTER TABLE syncd.inbox ADD COLUMN lost smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN syncd.inbox.lost IS 'How often it was in hand when the process died; from the first time on it is taken alone.';
-- Those that were never put off come first, oldest first, then those that are due: what is put off costs no look anything.
DROP INDEX syncd.inbox_ready;
CREATE INDEX inbox_ready ON syncd.inbox (integration, not_before, id) WHERE state IN ('waiting', 'taken');
CREATE INDEX inbox_by_id ON syncd.inbox (integration, id);
CREATE INDEX inbox_suspects ON syncd.inbox (integration, id) WHERE state = 'waiting' AND lost > 0;

CREATE TABLE syncd.inbox_batches (
    integration  text COLLATE "C" NOT NULL,
    fence        bigint NOT NULL,
    ids          bigint[] NOT NULL,
    taken_at     timestamptz NOT NULL,
    PRIMARY KEY (integration, fence)
) WITH (fillfactor = 50);
COMMENT ON TABLE syncd.inbox_batches IS 'The deliveries an owner has in hand.';

CREATE TABLE syncd.event_types (
    integration  text COLLATE "C" NOT NULL,
    event_type   text COLLATE "C" NOT NULL,
    known        boolean NOT NULL,
    count        bigint NOT NULL,
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    PRIMARY KEY (integration, event_type)
) WITH (fillfactor = 50);
COMMENT ON TABLE syncd.event_types IS 'What partners call the events they tell of, and how often they came.';
COMMENT ON COLUMN syncd.event_types.known IS 'False: nothing is done for it. No driver knows it, or what it is of is not synced.';

CREATE FUNCTION syncd.finish_events(
    p_integration  text,
    p_scope        text,
    p_fence        bigint,
    p_now          timestamptz,
    p_ids          bigint[],
    p_states       text[],
    p_reasons      text[],
    p_resources    text[],
    p_externals    text[],
    p_later        timestamptz[],
    p_types        text[],
    p_known        boolean[],
    p_counts       bigint[],
    p_told         text[],
    p_told_at      timestamptz,
    wanted         jsonb
) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM syncd.assert_owned(p_scope, p_fence);
    DELETE FROM syncd.inbox_batches b WHERE b.integration = p_integration AND b.fence = p_fence AND b.ids @> p_ids;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'these deliveries of % are no longer in hand under fence %', p_integration, p_fence
            USING ERRCODE = 'SY001';
    END IF;
    IF wanted IS NOT NULL THEN
        PERFORM syncd.put_tasks(p_integration, p_now, wanted);
    END IF;
    WITH found AS MATERIALIZED (
        SELECT f.n, k.place
        FROM unnest(p_ids) WITH ORDINALITY AS f(id, n)
        CROSS JOIN LATERAL (
            SELECT i.ctid AS place FROM syncd.inbox i
            WHERE i.integration = p_integration AND i.id = f.id AND i.state = 'waiting'
            FOR UPDATE
        ) k
    )
    UPDATE syncd.inbox i
    SET state = p_states[f.n], reason = p_reasons[f.n], attempts = i.attempts + 1, not_before = p_later[f.n],
        resource = p_resources[f.n], external_id = p_externals[f.n],
        finished_at = CASE WHEN p_states[f.n] <> 'waiting' THEN p_now END
    FROM found f
    WHERE i.ctid = f.place;
    INSERT INTO syncd.event_types AS e (integration, event_type, known, count, first_at, last_at)
    SELECT p_integration, t.event_type, t.known, t.count, p_now, p_now
    FROM unnest(p_types, p_known, p_counts) AS t(event_type, known, count)
    ORDER BY t.event_type COLLATE "C"
    ON CONFLICT (integration, event_type)
    DO UPDATE SET count = e.count + excluded.count, known = excluded.known, last_at = excluded.last_at;
    IF cardinality(p_told) > 0 THEN
        PERFORM syncd.note_deliveries(p_integration, p_told_at, p_told);
    END IF;
END
$$;
COMMENT ON FUNCTION syncd.finish_events IS 'The end of a batch of deliveries: what became of each, what they were of, and the work they cause.';
