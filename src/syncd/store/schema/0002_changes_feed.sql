-- The feed of changes that never skips a row committed late.
-- previous release: none
--
-- Ids are taken when a change is made, but seen when its transaction commits: a reader that asks for `id > n` could pass an
-- id still open and never come back. So each row carries a bound: the writer first has a transaction id, then takes the ids,
-- and only then, in the next statement, reads the next transaction id to be given out. Whoever took a smaller id is older
-- than that bound. Once the bound lies at or below the oldest transaction still running, all smaller ids are decided:
-- visible by now, or rolled back.

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
