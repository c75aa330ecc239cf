-- What a listing of one answer was known by, so that it can be asked for only if it changed.
-- previous release: runs

CREATE TABLE syncd.validators (
    integration  text COLLATE "C" NOT NULL,
    resource     text COLLATE "C" NOT NULL,
    etag         text,
    modified     text,
    reading      text COLLATE "C" NOT NULL,
    records      bigint NOT NULL,
    versions     numeric NOT NULL,
    told_at      timestamptz NOT NULL,
    PRIMARY KEY (integration, resource)
) WITH (fillfactor = 50);
COMMENT ON TABLE syncd.validators IS 'A whole listing that came in one answer with an ETag or Last-Modified, and is stored just so.';
COMMENT ON COLUMN syncd.validators.reading IS 'Of the call and of how its answer is read: another call or reading has to see the answer itself.';
COMMENT ON COLUMN syncd.validators.records IS 'Live records when it was stored.';
COMMENT ON COLUMN syncd.validators.versions IS 'All their versions together, tombstones too: whatever is written since makes this another number.';
COMMENT ON COLUMN syncd.validators.told_at IS 'When the listing itself was read last, by our clock.';
