-- R1 and R7: one page in one statement of the client, so in one transaction and one round trip.
-- previous release: none
--
-- The arrays of page_rows hold one element a record; one that is shorter than `ids` holds one element meant for all of them,
-- and NULL means none. The statements inside see what was committed before each of them began (READ COMMITTED), which the
-- upsert and the bound of the changes rely on.
--
-- Whatever is looked up by key is looked up in a LATERAL subquery with OFFSET 0 (or by ctid): the planner may not turn that
-- round, which it would like to do for a table that has grown since it was last analyzed.
--
-- Lock order, the same everywhere: checkpoint, then new records by key, then known records by key, then counts, then the rest
-- by key.

CREATE TYPE syncd.page_rows AS (
    ids            text[],
    resources      text[],
    datas          jsonb[],
    raws           json[],
    hashes         bytea[],
    versions       bigint[],
    updates        timestamptz[],
    fetches        timestamptz[],
    parents        text[],
    adapters       text[],
    causes         text[],
    deletes        boolean[],
    sparses        boolean[],
    observeds      boolean[],
    histories      smallint[],
    seen           text[]
);
COMMENT ON TYPE syncd.page_rows IS 'The records of one page, and the ids it has shown.';

CREATE FUNCTION syncd.unpacked(p_rows syncd.page_rows)
RETURNS TABLE (
    id text, resource text, data jsonb, raw json, hash bytea, version bigint, updated_at timestamptz, fetched_at timestamptz,
    parent_id text, adapter text, cause text, gone boolean, sparse boolean, observed boolean, history smallint,
    missed_at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT
        i.id, coalesce(i.resource, (p_rows.resources)[1]), i.data, i.raw, i.hash, i.version, i.updated_at,
        coalesce(i.fetched_at, (p_rows.fetches)[1]), i.parent_id, coalesce(i.adapter, (p_rows.adapters)[1]),
        c.cause, coalesce(i.gone, false), coalesce(i.sparse, false), coalesce(i.observed, false),
        coalesce(i.history, (p_rows.histories)[1]),
        -- Nobody says when it went: before it was asked for, or before we were told.
        CASE
            WHEN i.gone AND i.version IS NULL AND i.updated_at IS NULL
            THEN coalesce(i.fetched_at, (p_rows.fetches)[1])
        END
    FROM unnest(p_rows.ids, p_rows.resources, p_rows.datas, p_rows.raws, p_rows.hashes, p_rows.versions, p_rows.updates,
                p_rows.fetches, p_rows.parents, p_rows.adapters, p_rows.causes, p_rows.deletes, p_rows.sparses,
                p_rows.observeds, p_rows.histories)
        AS i(id, resource, data, raw, hash, version, updated_at, fetched_at, parent_id, adapter, cause, gone, sparse, observed,
             history)
    CROSS JOIN LATERAL (SELECT coalesce(i.cause, (p_rows.causes)[1]) AS cause) c
    ORDER BY coalesce(i.resource, (p_rows.resources)[1]) COLLATE "C", i.id COLLATE "C"
$$;
COMMENT ON FUNCTION syncd.unpacked(syncd.page_rows) IS 'A page''s records, one a row, in the order in which all writers lock them.';

CREATE TYPE syncd.stored_row AS (
    external_id        text,
    resource           text,
    verdict            text,
    place              tid,
    data               jsonb,
    raw                json,
    content_hash       bytea,
    sparse_hash        bytea,
    source_version     bigint,
    source_updated_at  timestamptz,
    fetched_at         timestamptz,
    parent_id          text,
    adapter            text,
    cause              text,
    row_version        bigint,
    old_data           jsonb,
    history            smallint,
    missed_at          timestamptz
);

CREATE FUNCTION syncd.store_rows(
    p_integration  text,
    p_now          timestamptz,
    p_rows         syncd.page_rows,
    p_fresh        boolean,
    OUT added      text[],
    OUT updated    text[],
    OUT deleted    text[],
    OUT added_of   text[],
    OUT updated_of text[],
    OUT unchanged  integer,
    OUT stale      integer
)
LANGUAGE plpgsql
AS $$
DECLARE
    total       integer := cardinality(p_rows.ids);
    inserted    integer;
    buried      integer;
    buried_of   text[];
    deleted_of  text[];
    revived_of  text[];
    mark        xid;
    found       syncd.stored_row[];
    log         syncd.changes[];
    touched     integer := 0;
    same        integer;
BEGIN
    added := '{}'; updated := '{}'; deleted := '{}'; added_of := '{}'; updated_of := '{}'; unchanged := 0; stale := 0;
    IF total IS NULL OR total = 0 THEN
        RETURN;
    END IF;

    -- New ones. Where the caller found none of them known, nearly always nobody else has stored them meanwhile, and the plain
    -- statement costs a quarter less than the one that is prepared for it.
    IF p_fresh THEN
        BEGIN
            WITH fresh AS (
                INSERT INTO syncd.records AS r (
                    integration, resource, external_id, source_version, source_updated_at, fetched_at, synced_at, deleted_at,
                    missed_at, content_hash, sparse_hash, adapter, cause, parent_id, data, raw)
                SELECT
                    p_integration, i.resource, i.id, i.version, i.updated_at, i.fetched_at, p_now, CASE WHEN i.gone THEN p_now END,
                    i.missed_at, i.hash, CASE WHEN i.sparse THEN i.hash END, i.adapter, i.cause, i.parent_id, i.data, i.raw
                FROM syncd.unpacked(p_rows) i
                RETURNING r.external_id, r.resource, r.deleted_at, r.xmin AS born
            )
            SELECT
                count(*), count(f.deleted_at), min(f.born::text)::xid,
                coalesce(array_agg(f.external_id) FILTER (WHERE f.deleted_at IS NULL), '{}'),
                coalesce(array_agg(f.resource) FILTER (WHERE f.deleted_at IS NULL), '{}'),
                array_agg(f.resource) FILTER (WHERE f.deleted_at IS NOT NULL)
            INTO inserted, buried, mark, added, added_of, buried_of
            FROM fresh f;
        EXCEPTION WHEN unique_violation THEN
            p_fresh := false;
        END;
    END IF;
    IF p_fresh IS NOT TRUE THEN
        -- Whoever comes second waits here for the first one's commit, then finds them known below.
        WITH fresh AS (
            INSERT INTO syncd.records AS r (
                integration, resource, external_id, source_version, source_updated_at, fetched_at, synced_at, deleted_at,
                missed_at, content_hash, sparse_hash, adapter, cause, parent_id, data, raw)
            SELECT
                p_integration, i.resource, i.id, i.version, i.updated_at, i.fetched_at, p_now, CASE WHEN i.gone THEN p_now END,
                i.missed_at, i.hash, CASE WHEN i.sparse THEN i.hash END, i.adapter, i.cause, i.parent_id, i.data, i.raw
            FROM syncd.unpacked(p_rows) i
            ON CONFLICT DO NOTHING
            RETURNING r.external_id, r.resource, r.deleted_at, r.xmin AS born
        )
        SELECT
            count(*), count(f.deleted_at), min(f.born::text)::xid,
            coalesce(array_agg(f.external_id) FILTER (WHERE f.deleted_at IS NULL), '{}'),
            coalesce(array_agg(f.resource) FILTER (WHERE f.deleted_at IS NULL), '{}'),
            array_agg(f.resource) FILTER (WHERE f.deleted_at IS NOT NULL)
        INTO inserted, buried, mark, added, added_of, buried_of
        FROM fresh f;
    END IF;

    IF inserted > buried AND 2 = ANY (p_rows.histories) THEN
        PERFORM pg_current_xact_id();
        SELECT array_agg(ROW(
            p_integration, nextval('syncd.changes_id_seq'), r.resource, r.external_id, r.row_version,
            'insert', '', NULL, r.data, r.cause, p_now, '0')::syncd.changes)
        INTO log
        FROM syncd.unpacked(p_rows) i
        CROSS JOIN LATERAL (
            SELECT * FROM syncd.records k
            WHERE k.integration = p_integration AND k.resource = i.resource AND k.external_id = i.id
              AND k.xmin = mark AND k.row_version = 1 AND k.deleted_at IS NULL
            OFFSET 0
        ) r
        WHERE i.history = 2;
    END IF;

    IF inserted < total THEN
        -- Known ones: lock them in order, and judge what is there now, not what was there when the page was read.
        SELECT
            array_agg(ROW(
                t.id, t.resource, t.verdict, t.place, t.data, t.raw, t.hash, t.sparse_hash, t.version, t.updated_at,
                t.fetched_at, t.parent_id, t.adapter, t.cause, t.row_version, t.old_data, t.history,
                t.missed_at)::syncd.stored_row)
                FILTER (WHERE t.verdict IN ('touch', 'revive', 'update', 'delete')),
            count(*) FILTER (WHERE t.verdict IN ('same', 'touch')),
            count(*) FILTER (WHERE t.verdict = 'stale')
        INTO found, same, stale
        FROM (
            SELECT
                l.*,
                CASE
                    WHEN l.same AND (NOT l.newer OR NOT l.newer_stamp AND NOT l.missed_later) THEN 'same'
                    WHEN NOT l.newer THEN 'stale'
                    WHEN l.same THEN 'touch'
                    WHEN l.gone THEN 'delete'
                    WHEN l.was_gone THEN 'revive'
                    ELSE 'update'
                END AS verdict
            FROM (
                SELECT
                    i.id, r.resource, r.place,
                    CASE WHEN i.gone THEN r.data WHEN i.sparse THEN r.data || i.data ELSE i.data END AS data,
                    CASE
                        WHEN i.gone THEN r.raw
                        WHEN NOT i.sparse THEN i.raw
                        WHEN strpos(r.raw::text, '\u0000') > 0 OR strpos(i.raw::text, '\u0000') > 0 THEN i.raw
                        ELSE (r.raw::jsonb || i.raw::jsonb)::json
                    END AS raw,
                    -- A partial view makes the hash of the whole unknown. The whole makes that of the partial view unknown,
                    -- unless it is the same version, fetched because the partial view had changed.
                    CASE WHEN i.gone THEN r.content_hash WHEN i.sparse THEN ''::bytea ELSE i.hash END AS hash,
                    CASE
                        WHEN i.gone THEN r.sparse_hash
                        WHEN i.sparse THEN i.hash
                        WHEN i.version IS NOT DISTINCT FROM r.source_version
                            AND i.updated_at IS NOT DISTINCT FROM r.source_updated_at THEN r.sparse_hash
                    END AS sparse_hash,
                    coalesce(i.version, r.source_version) AS version,
                    CASE
                        WHEN i.observed THEN greatest(i.updated_at, r.source_updated_at)
                        ELSE coalesce(i.updated_at, r.source_updated_at)
                    END AS updated_at,
                    i.fetched_at,
                    coalesce(i.parent_id, r.parent_id) AS parent_id,
                    i.adapter,
                    i.cause,
                    r.row_version + 1 AS row_version,
                    r.data AS old_data,
                    i.history,
                    i.gone,
                    CASE WHEN i.gone THEN m.missed_at END AS missed_at,
                    i.gone AND m.missed_at IS DISTINCT FROM r.missed_at AS missed_later,
                    r.deleted_at IS NOT NULL AS was_gone,
                    CASE
                        WHEN i.gone <> (r.deleted_at IS NOT NULL) THEN false
                        WHEN i.gone THEN true
                        WHEN i.sparse THEN coalesce(r.sparse_hash, r.content_hash) = i.hash
                        ELSE r.content_hash = i.hash
                    END AS same,
                    CASE
                        -- Of two requests the later one knows better that a record was gone: no stamp tells when it went.
                        -- Nor does a delivery that comes late: it tells by the partner's clock, which may differ a little.
                        WHEN NOT i.gone AND r.deleted_at IS NOT NULL AND r.missed_at <= p_now
                            AND CASE
                                WHEN i.cause LIKE 'webhook%' THEN i.updated_at < r.missed_at - interval '1 minute'
                                ELSE i.fetched_at <= r.missed_at
                            END THEN false
                        WHEN i.version <> r.source_version THEN i.version > r.source_version
                        WHEN i.version = r.source_version THEN t.later
                        -- The partner's clock is observed by whole seconds: it does not tell which of two requests was first.
                        -- Ours does, unless it has been set back since.
                        WHEN i.observed AND i.cause NOT LIKE 'webhook%' AND r.cause NOT LIKE 'webhook%'
                            AND i.fetched_at <> r.fetched_at AND r.fetched_at <= p_now THEN i.fetched_at > r.fetched_at
                        WHEN i.updated_at <> r.source_updated_at THEN i.updated_at > r.source_updated_at
                        ELSE t.later
                    END AS newer,
                    (i.version IS DISTINCT FROM r.source_version AND i.version IS NOT NULL)
                        OR (i.updated_at IS DISTINCT FROM r.source_updated_at AND i.updated_at IS NOT NULL) AS newer_stamp
                FROM syncd.unpacked(p_rows) i
                CROSS JOIN LATERAL (
                    SELECT k.*, k.ctid AS place FROM syncd.records k
                    WHERE k.integration = p_integration AND k.resource = i.resource AND k.external_id = i.id
                    FOR UPDATE
                ) r
                CROSS JOIN LATERAL (
                    -- What was stored while our clock was ahead of what it is now is older than whatever comes.
                    SELECT r.fetched_at > p_now + interval '1 minute' OR ROW(i.fetched_at, i.gone, i.hash)
                         > ROW(r.fetched_at, r.deleted_at IS NOT NULL, r.content_hash) AS later
                ) t
                CROSS JOIN LATERAL (
                    SELECT CASE WHEN r.deleted_at IS NULL THEN i.missed_at ELSE greatest(i.missed_at, r.missed_at) END
                        AS missed_at
                ) m
            ) l
        ) t;

        unchanged := same - inserted;  -- those inserted just now met themselves

        IF found IS NOT NULL THEN
            SELECT
                coalesce(array_agg(f.external_id) FILTER (WHERE f.verdict = 'update'), '{}'),
                coalesce(array_agg(f.resource) FILTER (WHERE f.verdict = 'update'), '{}'),
                coalesce(array_agg(f.external_id) FILTER (WHERE f.verdict = 'delete'), '{}'),
                added || coalesce(array_agg(f.external_id) FILTER (WHERE f.verdict = 'revive'), '{}'),
                added_of || coalesce(array_agg(f.resource) FILTER (WHERE f.verdict = 'revive'), '{}'),
                count(*) FILTER (WHERE f.verdict = 'touch'),
                array_agg(f.resource) FILTER (WHERE f.verdict = 'delete'),
                array_agg(f.resource) FILTER (WHERE f.verdict = 'revive')
            INTO updated, updated_of, deleted, added, added_of, touched, deleted_of, revived_of
            FROM unnest(found) f;

            IF 1 = ANY (p_rows.histories) OR 2 = ANY (p_rows.histories) THEN
                PERFORM pg_current_xact_id();
                SELECT log || array_agg(ROW(
                    p_integration, nextval('syncd.changes_id_seq'), c.resource, c.external_id, c.row_version,
                    c.kind, c.field, c.old, c.new, c.cause, p_now, '0')::syncd.changes)
                INTO log
                FROM (
                    SELECT f.resource, f.external_id, f.row_version, f.cause, d.kind, d.field, d.old, d.new
                    FROM unnest(found) f
                    CROSS JOIN LATERAL (
                        SELECT 'update' AS kind, n.key AS field, f.old_data -> n.key AS old, n.value AS new
                        FROM jsonb_each(f.data) n
                        WHERE f.verdict = 'update' AND f.old_data -> n.key IS DISTINCT FROM n.value
                        UNION ALL
                        SELECT 'update', o.key, o.value, NULL
                        FROM jsonb_each(f.old_data) o
                        WHERE f.verdict = 'update' AND NOT f.data ? o.key
                        UNION ALL
                        SELECT 'delete', '', f.old_data, NULL WHERE f.verdict = 'delete'
                        UNION ALL
                        SELECT 'insert', '', NULL, f.data WHERE f.verdict = 'revive'
                    ) d
                    WHERE f.history > 0
                    ORDER BY f.resource, f.external_id, d.field
                ) c;
            END IF;

            UPDATE syncd.records r
            SET data = f.data, raw = f.raw, content_hash = f.content_hash, sparse_hash = f.sparse_hash,
                source_version = f.source_version, source_updated_at = f.source_updated_at, fetched_at = f.fetched_at,
                synced_at = p_now, parent_id = f.parent_id, adapter = f.adapter, cause = f.cause,
                row_version = f.row_version, missed_at = f.missed_at,
                deleted_at = CASE WHEN f.verdict = 'delete' THEN p_now END
            FROM unnest(found) f
            WHERE r.ctid = f.place AND f.verdict <> 'touch';

            IF touched > 0 THEN  -- the same content under a newer stamp: remember the stamp and who brought it, tell nobody
                UPDATE syncd.records r
                SET source_version = f.source_version, source_updated_at = f.source_updated_at, fetched_at = f.fetched_at,
                    cause = f.cause, missed_at = CASE WHEN r.deleted_at IS NULL THEN r.missed_at ELSE f.missed_at END
                FROM unnest(found) f
                WHERE r.ctid = f.place AND f.verdict = 'touch';
            END IF;
        END IF;
    END IF;

    IF cardinality(added_of) > 0 OR buried_of IS NOT NULL OR deleted_of IS NOT NULL THEN
        INSERT INTO syncd.record_counts AS c (integration, resource, live, buried)
        SELECT p_integration, d.resource, sum(d.live), sum(d.buried)
        FROM (
            SELECT unnest(added_of) AS resource, 1 AS live, 0 AS buried
            UNION ALL SELECT unnest(buried_of), 0, 1
            UNION ALL SELECT unnest(deleted_of), -1, 1
            UNION ALL SELECT unnest(revived_of), 0, -1
        ) d
        GROUP BY d.resource
        ORDER BY d.resource COLLATE "C"
        ON CONFLICT (integration, resource) DO UPDATE SET live = c.live + excluded.live, buried = c.buried + excluded.buried;
    END IF;

    IF log IS NOT NULL THEN
        PERFORM syncd.append_changes(log);
        PERFORM pg_notify('syncd_changes', p_integration);
    END IF;
END
$$;

CREATE FUNCTION syncd.advance(
    p_integration  text,
    p_resource     text,
    p_scope        text,
    p_fence        bigint,
    p_run          bigint,
    p_cursor_read  text,
    p_cursor_next  text,
    p_last         boolean,
    p_newest_at    timestamptz,
    p_ceiling_at   timestamptz,
    p_now          timestamptz
) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    pass bigint;
BEGIN
    UPDATE syncd.checkpoints c
    SET cursor = p_cursor_next, listed = p_last, updated_at = p_now,
        newest_at = greatest(c.newest_at, p_newest_at), ceiling_at = coalesce(c.ceiling_at, p_ceiling_at)
    WHERE c.integration = p_integration AND c.resource = p_resource
      AND c.cursor IS NOT DISTINCT FROM p_cursor_read AND NOT c.listed AND c.run_id = p_run AND c.fence = p_fence
      AND EXISTS (SELECT FROM syncd.leases l WHERE l.scope = p_scope AND l.fence = p_fence)
    RETURNING c.pass_id INTO pass;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the checkpoint of %/% has moved on, or scope % is no longer held with fence %',
            p_integration, p_resource, p_scope, p_fence USING ERRCODE = 'SY001';
    END IF;
    RETURN pass;
END
$$;

CREATE FUNCTION syncd.assert_owned(p_scope text, p_fence bigint) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM syncd.leases l WHERE l.scope = p_scope AND l.fence = p_fence;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'scope % is no longer held with fence %', p_scope, p_fence USING ERRCODE = 'SY001';
    END IF;
END
$$;

CREATE FUNCTION syncd.put_tasks(p_integration text, p_now timestamptz, wanted jsonb) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    made integer;
BEGIN
    INSERT INTO syncd.tasks AS k (
        integration, kind, resource, external_id, parent_id, payload, lane, dedupe_key, not_before, expires_at, created_at, cause)
    SELECT DISTINCT ON (coalesce('=' || t.dedupe_key, n::text))
        p_integration, t.kind, coalesce(t.resource, ''), t.external_id, t.parent_id, coalesce(t.payload, '{}'),
        coalesce(t.lane, 1), t.dedupe_key, t.not_before, t.expires_at, p_now, coalesce(t.cause, '')
    FROM ROWS FROM (jsonb_to_recordset(wanted) AS (
            kind text, resource text, external_id text, parent_id text, payload jsonb, lane smallint, dedupe_key text,
            not_before timestamptz, expires_at timestamptz, cause text)) WITH ORDINALITY
        AS t(kind, resource, external_id, parent_id, payload, lane, dedupe_key, not_before, expires_at, cause, n)
    ORDER BY coalesce('=' || t.dedupe_key, n::text), coalesce(t.lane, 1)
    ON CONFLICT (integration, dedupe_key) WHERE state = 'waiting' AND dedupe_key IS NOT NULL
    DO UPDATE SET
        lane = least(k.lane, excluded.lane),
        payload = excluded.payload,
        not_before = CASE  -- NULL is at once; work that is being put off after a failure stays put off
            WHEN k.attempts > 0 THEN k.not_before
            WHEN k.not_before IS NOT NULL AND excluded.not_before IS NOT NULL THEN least(k.not_before, excluded.not_before)
        END,
        expires_at = CASE
            WHEN k.expires_at IS NOT NULL AND excluded.expires_at IS NOT NULL THEN greatest(k.expires_at, excluded.expires_at)
        END;
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END
$$;

CREATE FUNCTION syncd.store_page(
    p_integration  text,
    p_resource     text,
    p_scope        text,
    p_fence        bigint,
    p_run          bigint,
    p_cursor_read  text,
    p_cursor_next  text,
    p_last         boolean,
    p_newest_at    timestamptz,
    p_ceiling_at   timestamptz,
    p_now          timestamptz,
    p_pages        integer,
    p_unchanged    integer,
    p_calls        integer,
    p_waited       double precision,
    p_rows         syncd.page_rows,
    p_fresh        boolean,
    p_early        boolean,
    sound_of       text[],
    sound          text[],
    rejected       jsonb,
    rejected_raw   bytea[],
    wanted         jsonb,
    OUT added      text[],
    OUT updated    text[],
    OUT deleted    text[],
    OUT unchanged  integer,
    OUT stale      integer
)
LANGUAGE plpgsql
AS $$
DECLARE
    pass        bigint;
    added_of    text[];
    updated_of  text[];
    turned      integer := coalesce(cardinality(rejected_raw), 0);
BEGIN
    IF p_last IS NOT NULL THEN
        pass := syncd.advance(p_integration, p_resource, p_scope, p_fence, p_run, p_cursor_read, p_cursor_next, p_last,
                              p_newest_at, p_ceiling_at, p_now);
    ELSE  -- rows outside a listing
        PERFORM syncd.assert_owned(p_scope, p_fence);
    END IF;

    IF p_early THEN  -- this transaction has put them in before: all of the page's resource, all new
        added := p_rows.ids; added_of := array_fill(p_resource, ARRAY[cardinality(p_rows.ids)]);
        updated := '{}'; deleted := '{}'; unchanged := 0; stale := 0;
        INSERT INTO syncd.record_counts AS c (integration, resource, live) VALUES (p_integration, p_resource, cardinality(added))
        ON CONFLICT (integration, resource) DO UPDATE SET live = c.live + excluded.live;
    ELSIF cardinality(p_rows.ids) > 0 THEN
        SELECT s.added, s.updated, s.deleted, s.added_of, s.updated_of, s.unchanged, s.stale
        INTO added, updated, deleted, added_of, updated_of, unchanged, stale
        FROM syncd.store_rows(p_integration, p_now, p_rows, p_fresh) s;
    ELSE
        added := '{}'; updated := '{}'; deleted := '{}'; unchanged := 0; stale := 0;
    END IF;

    IF pass IS NOT NULL AND cardinality(p_rows.seen) > 0 THEN
        INSERT INTO syncd.pass_pages (integration, resource, pass_id, ids)
        VALUES (p_integration, p_resource, pass, p_rows.seen);
    END IF;

    IF turned > 0 THEN
        INSERT INTO syncd.rejects AS r (
            integration, resource, external_id, raw, reason, fingerprint, adapter, cause, first_at, last_at)
        SELECT DISTINCT ON (t.resource, t.external_id)
            p_integration, t.resource, t.external_id, rejected_raw[n], t.reason, t.fingerprint, coalesce(t.adapter, ''),
            coalesce(t.cause, ''), p_now, p_now
        FROM ROWS FROM (jsonb_to_recordset(rejected) AS (
                resource text, external_id text, reason text, fingerprint text, adapter text, cause text)) WITH ORDINALITY
            AS t(resource, external_id, reason, fingerprint, adapter, cause, n)
        ORDER BY t.resource, t.external_id, n DESC
        ON CONFLICT (integration, resource, external_id) DO UPDATE SET
            raw = excluded.raw, reason = excluded.reason, fingerprint = excluded.fingerprint, adapter = excluded.adapter,
            cause = excluded.cause, times = r.times + 1, last_at = excluded.last_at;
    END IF;

    IF cardinality(sound) > 0 THEN
        DELETE FROM syncd.rejects WHERE ctid = ANY (ARRAY(
            SELECT r.place
            FROM unnest(sound_of, sound) AS s(resource, id)
            CROSS JOIN LATERAL (
                SELECT k.ctid AS place FROM syncd.rejects k
                WHERE k.integration = p_integration AND k.resource = s.resource AND k.external_id = s.id
                FOR UPDATE
            ) r));
    END IF;

    IF wanted IS NOT NULL THEN  -- children of unchanged and stale parents cause no work
        PERFORM syncd.put_tasks(p_integration, p_now, kept.tasks)
        FROM (
            SELECT jsonb_agg(t.task) AS tasks
            FROM jsonb_array_elements(wanted) AS t(task)
            WHERE t.task -> 'parent_id' IS NULL
               OR EXISTS (
                   SELECT FROM unnest(added || updated, added_of || updated_of) AS c(id, resource)
                   WHERE c.id = t.task ->> 'parent_id' AND c.resource = t.task ->> 'parent_resource')
        ) kept
        WHERE kept.tasks IS NOT NULL;
    END IF;

    IF p_run IS NOT NULL THEN
        UPDATE syncd.runs r
        SET pages = r.pages + CASE WHEN p_last IS NULL THEN 0 ELSE p_pages END,
            added = r.added + cardinality(store_page.added),
            updated = r.updated + cardinality(store_page.updated),
            deleted = r.deleted + cardinality(store_page.deleted),
            unchanged = r.unchanged + store_page.unchanged + p_unchanged,
            stale = r.stale + store_page.stale,
            rejected = r.rejected + turned,
            calls = r.calls + p_calls,
            waited_seconds = r.waited_seconds + p_waited
        WHERE r.integration = p_integration AND r.id = p_run;
    END IF;
END
$$;
