-- What the nightly prune finds without reading whole tables.
-- previous release: runs

CREATE TABLE syncd.prune_marks (
    integration  text COLLATE "C" PRIMARY KEY,
    passed_id    bigint NOT NULL,
    whole_at     timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE syncd.prune_marks IS 'How far the payloads of an integration''s deliveries have been forgotten.';
COMMENT ON COLUMN syncd.prune_marks.passed_id IS 'The inbox rows up to this id were looked at.';
COMMENT ON COLUMN syncd.prune_marks.whole_at IS 'When the latest walk over all of them began: it finds those that ended late.';

CREATE INDEX records_buried ON syncd.records (deleted_at) WHERE deleted_at IS NOT NULL;
