-- Pushes: the oldest of a record first, what may have arrived is never forgotten, and word that there is one.
-- previous release: runs
--
-- An application writes a push in the transaction of the change that causes it: SELECT syncd.push(...), or a plain INSERT of
-- integration, resource, operation and payload. See docs/pushes.md.

ALTER TABLE syncd.outbox
    ALTER COLUMN idempotency_key SET DEFAULT gen_random_uuid()::text,
    ALTER COLUMN created_at SET DEFAULT now(),
    ADD COLUMN ordered_by text COLLATE "C",
    ADD COLUMN record_key text COLLATE "C" GENERATED ALWAYS AS (coalesce(external_id, nullif(ordered_by, ''))) STORED,
    ADD COLUMN taken_at timestamptz,
    ADD COLUMN sent_at timestamptz,
    ADD COLUMN unsure_since timestamptz,
    ADD COLUMN lost smallint NOT NULL DEFAULT 0,
    ADD COLUMN suspicion smallint NOT NULL DEFAULT 0,
    ADD COLUMN replaces boolean NOT NULL DEFAULT false,
    ADD COLUMN reason text,
    ADD COLUMN bytes integer GENERATED ALWAYS AS (octet_length(payload::text)) STORED,
    ADD CONSTRAINT outbox_data CHECK (jsonb_typeof(payload) = 'object'),
    ADD CONSTRAINT outbox_at_most_1_mib CHECK (bytes <= 1048576),
    ADD CONSTRAINT outbox_named CHECK (integration <> '' AND resource <> '' AND operation <> '' AND external_id <> '');
COMMENT ON COLUMN syncd.outbox.operation IS 'What is to be done, in the driver''s words: upsert, status.';
COMMENT ON COLUMN syncd.outbox.ordered_by IS 'Of a push without an id: what the driver says identifies the record; empty: nothing does.';
COMMENT ON COLUMN syncd.outbox.record_key IS 'Pushes with the same one go one after the other.';
COMMENT ON COLUMN syncd.outbox.sent_at IS 'When a try last left.';
COMMENT ON COLUMN syncd.outbox.unsure_since IS 'A try left then, and nothing has told since whether it arrived.';
COMMENT ON COLUMN syncd.outbox.lost IS 'Takes that ended with the process.';
COMMENT ON COLUMN syncd.outbox.suspicion IS 'How sure it is that handling it is what ends the process; it goes to the dead letters at five.';
COMMENT ON COLUMN syncd.outbox.replaces IS 'It sets a state: one that was buried is moot once a newer one of its kind was done for the record.';
COMMENT ON COLUMN syncd.outbox.bytes IS 'How long the payload is as text: 1 MiB at most.';
COMMENT ON COLUMN syncd.outbox.reason IS 'Why it waits, or how it ended.';

CREATE UNIQUE INDEX outbox_ids ON syncd.outbox (integration, id);
CREATE INDEX outbox_of_record ON syncd.outbox (integration, resource, record_key, id)
    WHERE state IN ('waiting', 'taken', 'unknown');
-- What was done, or waits, after an older one of the same record: by its id, and by what identified it before it had one.
CREATE INDEX outbox_done_of_record ON syncd.outbox (integration, resource, record_key, id) WHERE state = 'done';
CREATE INDEX outbox_done_of_match ON syncd.outbox (integration, resource, ordered_by, id) WHERE state = 'done';
CREATE INDEX outbox_of_match ON syncd.outbox (integration, resource, ordered_by, id)
    WHERE state IN ('waiting', 'taken', 'unknown');
CREATE INDEX outbox_taken ON syncd.outbox (integration) WHERE state = 'taken';
-- Resource by resource, those that were never put off before those that are due: what may not go costs no look anything.
CREATE INDEX outbox_due ON syncd.outbox (integration, resource, not_before, id) WHERE state IN ('waiting', 'unknown');
CREATE INDEX outbox_free ON syncd.outbox (integration, resource, not_before, id)
    WHERE state IN ('waiting', 'unknown') AND external_id IS NULL AND ordered_by = '';
CREATE INDEX outbox_expiring ON syncd.outbox (integration, expires_at) WHERE state = 'waiting' AND expires_at IS NOT NULL;
CREATE INDEX outbox_unordered ON syncd.outbox (integration, id)
    WHERE state = 'waiting' AND external_id IS NULL AND ordered_by IS NULL;

CREATE FUNCTION syncd.push(
    integration      text,
    resource         text,
    kind             text,
    data             jsonb,
    external_id      text DEFAULT NULL,
    idempotency_key  text DEFAULT NULL,
    cause            text DEFAULT '',
    expires_at       timestamptz DEFAULT NULL,
    not_before       timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    wanted  text := coalesce(push.idempotency_key, gen_random_uuid()::text);
    made    bigint;
    known   syncd.outbox;
BEGIN
    IF coalesce(push.integration, '') = '' OR coalesce(push.resource, '') = '' OR coalesce(push.kind, '') = '' THEN
        RAISE EXCEPTION 'a push needs integration, resource and kind' USING ERRCODE = '22023';
    END IF;
    IF jsonb_typeof(push.data) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'the data of a push is a JSON object, not %', coalesce(jsonb_typeof(push.data), 'NULL')
            USING ERRCODE = '22023';
    END IF;
    IF octet_length(push.data::text) > 1048576 THEN
        RAISE EXCEPTION 'the data of a push is at most 1 MiB as JSON, and this is % bytes', octet_length(push.data::text)
            USING ERRCODE = '22023';
    END IF;
    INSERT INTO syncd.outbox AS o (integration, idempotency_key, resource, external_id, operation, payload, cause, expires_at,
                                   not_before)
    VALUES (push.integration, wanted, push.resource, nullif(push.external_id, ''), push.kind, push.data,
            coalesce(push.cause, ''), push.expires_at, push.not_before)
    ON CONFLICT ON CONSTRAINT outbox_pkey DO NOTHING
    RETURNING o.id INTO made;
    IF made IS NOT NULL THEN
        RETURN made;
    END IF;
    SELECT o.* INTO known FROM syncd.outbox o WHERE o.integration = push.integration AND o.idempotency_key = wanted;
    IF known.id IS NOT NULL
       AND (known.resource, known.operation, known.payload) IS NOT DISTINCT FROM (push.resource, push.kind, push.data)
       AND (push.external_id IS NULL OR known.external_id = push.external_id) THEN
        RETURN known.id;
    END IF;
    RAISE EXCEPTION 'the idempotency key % of % was used for another push', wanted, push.integration
        USING ERRCODE = 'SY002', HINT = 'one key stands for one push: give each its own, or leave it out';
END
$$;
COMMENT ON FUNCTION syncd.push IS
    'One push, written in the caller''s transaction and sent after its COMMIT; returns its id. A key that was used returns the '
    'push it stands for.';

CREATE FUNCTION syncd.tell_of_pushes() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_notify('syncd_outbox', n.integration) FROM (SELECT DISTINCT left(f.integration, 500) AS integration FROM fresh f) n;
    RETURN NULL;
END
$$;

CREATE TRIGGER outbox_told AFTER INSERT ON syncd.outbox
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION syncd.tell_of_pushes();
