-- The feed of changes that never skips a row committed late.
-- previous release: none
--
-- Ids are taken when a change is made, while the record is locked, so those of one record are in the order of its versions.
-- But they are seen when their transaction commits: a reader that asks for `id > n` could pass an id still open and never
-- come back. So each row carries a bound. The writer has a transaction id before it takes ids, and gets another one after,
-- that of a subtransaction. Whoever took a smaller id has a transaction id below this second one. Once all transactions below it
-- have ended, every smaller id is decided: visible by now, or rolled back. (A snapshot's xmax would not do for a bound: it
-- follows the last transaction that ended, and those running may lie above it.)

CREATE FUNCTION syncd.append_changes(log syncd.changes[]) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    own    numeric := pg_current_xact_id()::text::numeric;
    mark   xid;
    place  tid;
    later  numeric;
BEGIN
    BEGIN
        INSERT INTO syncd.changes AS r (
            integration, id, resource, external_id, row_version, kind, field, old, new, cause, changed_at, bound)
        SELECT c.integration, c.id, c.resource, c.external_id, c.row_version, c.kind, c.field, c.old, c.new, c.cause,
               c.changed_at, '18446744073709551615'
        FROM unnest(log[1:1]) c
        RETURNING r.xmin, r.ctid INTO mark, place;
        -- 32 bits of it are shown; it comes after our own, and not long after.
        later := own - own % 4294967296 + mark::text::numeric;
        IF later < own THEN
            later := later + 4294967296;
        END IF;
        UPDATE syncd.changes SET bound = later::text::xid8 WHERE ctid = place;
        INSERT INTO syncd.changes (
            integration, id, resource, external_id, row_version, kind, field, old, new, cause, changed_at, bound)
        SELECT c.integration, c.id, c.resource, c.external_id, c.row_version, c.kind, c.field, c.old, c.new, c.cause,
               c.changed_at, later::text::xid8
        FROM unnest(log[2:]) c;
    EXCEPTION WHEN no_data_found THEN
        RAISE;  -- never: it is this clause that makes the block a subtransaction
    END;
END
$$;

CREATE FUNCTION syncd.mend_changes() RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT coalesce((SELECT bound > pg_current_xact_id() FROM syncd.changes ORDER BY id DESC LIMIT 1), false) THEN
        RETURN false;
    END IF;
    UPDATE syncd.changes SET bound = '0' WHERE bound > pg_current_xact_id();
    RETURN true;
END
$$;
COMMENT ON FUNCTION syncd.mend_changes() IS
    'After a restore into a younger server the bounds lie in its future, and readers would wait for it. Run at each start.';

CREATE FUNCTION syncd.changes_after(after_id bigint, max_rows integer DEFAULT 1000)
RETURNS SETOF syncd.changes
LANGUAGE sql STABLE
AS $$
    WITH batch AS MATERIALIZED (
        SELECT * FROM syncd.changes WHERE id > after_id ORDER BY id LIMIT max_rows
    )
    SELECT *
    FROM batch
    WHERE id <= (SELECT max(id) FROM batch WHERE bound <= pg_snapshot_xmin(pg_current_snapshot()))
    ORDER BY id
$$;
COMMENT ON FUNCTION syncd.changes_after(bigint, integer) IS
    'Changes in order after the given id. Keep the last id you handled and ask again; no row committed late is ever skipped.';
