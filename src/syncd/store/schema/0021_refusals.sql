-- What was refused because something newer was stored is told of its record: "the partner changed it, why is it not here?"
-- previous release: runs, from 0019
--
-- `store_rows` is that of 0003 with the refused ones written down; a page that refuses nothing does nothing more than before.

CREATE TABLE syncd.refusals (
    integration  text COLLATE "C" NOT NULL,
    resource     text COLLATE "C" NOT NULL,
    external_id  text COLLATE "C" NOT NULL,
    times        bigint NOT NULL DEFAULT 1,
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    latest       jsonb NOT NULL,
    PRIMARY KEY (integration, resource, external_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE syncd.refusals IS 'A record of which versions came that were older than the stored one: how often, and the last five.';
COMMENT ON COLUMN syncd.refusals.latest IS 'Newest first: at, cause, the stamps it came with, and those of the row that was kept (held). No values.';

CREATE OR REPLACE FUNCTION syncd.store_rows(
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
    refused     jsonb;
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
            count(*) FILTER (WHERE t.verdict = 'stale'),
            -- Of those refused only: nothing is put together for the others.
            jsonb_agg(jsonb_build_object(
                'resource', t.resource, 'id', t.id, 'cause', t.cause, 'fetched_at', t.fetched_at, 'gone', t.gone,
                'source_updated_at', t.came_updated_at, 'source_version', t.came_version,
                'held', jsonb_build_object(
                    'cause', t.held_cause, 'fetched_at', t.held_fetched_at, 'row_version', t.row_version - 1,
                    'source_updated_at', t.held_updated_at, 'source_version', t.held_version, 'gone', t.was_gone,
                    'missed_at', t.held_missed_at)))
                FILTER (WHERE t.verdict = 'stale')
        INTO found, same, stale, refused
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
                    i.updated_at AS came_updated_at,
                    i.version AS came_version,
                    r.cause AS held_cause,
                    r.fetched_at AS held_fetched_at,
                    r.source_updated_at AS held_updated_at,
                    r.source_version AS held_version,
                    r.missed_at AS held_missed_at,
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

    IF refused IS NOT NULL THEN
        INSERT INTO syncd.refusals AS n (integration, resource, external_id, first_at, last_at, latest)
        SELECT
            p_integration, e.one ->> 'resource', e.one ->> 'id', p_now, p_now,
            jsonb_build_array(e.one - 'resource' - 'id' || jsonb_build_object('at', p_now))
        FROM jsonb_array_elements(refused) AS e(one)
        ORDER BY (e.one ->> 'resource') COLLATE "C", (e.one ->> 'id') COLLATE "C"
        ON CONFLICT (integration, resource, external_id) DO UPDATE SET
            times = n.times + 1, last_at = excluded.last_at,
            latest = jsonb_path_query_array(excluded.latest || n.latest, '$[0 to 4]');
    END IF;

    IF log IS NOT NULL THEN
        PERFORM syncd.append_changes(log);
        PERFORM pg_notify('syncd_changes', p_integration);
    END IF;
END
$$;
