-- What was being handled when a process died of it.
-- previous release: runs

CREATE TABLE syncd.perils (
    integration  text COLLATE "C" NOT NULL,
    resource     text COLLATE "C" NOT NULL,
    work         text COLLATE "C" NOT NULL,
    lost         integer NOT NULL DEFAULT 0,
    handled      text COLLATE "C",
    suspects     jsonb NOT NULL DEFAULT '{}',
    since        timestamptz NOT NULL,
    PRIMARY KEY (integration, resource, work)
) WITH (fillfactor = 50);
COMMENT ON TABLE syncd.perils IS 'A listing during which the process ended: it is read with care until it got through.';
COMMENT ON COLUMN syncd.perils.work IS 'pull or backfill.';
COMMENT ON COLUMN syncd.perils.lost IS 'How often the process ended while it was read.';
COMMENT ON COLUMN syncd.perils.handled IS 'What the driver has in hand: a record (resource/id), or a step of the work (beginning with !).';
COMMENT ON COLUMN syncd.perils.suspects IS 'How often the process ended while the driver had this in hand, this time included.';

CREATE INDEX rejects_aside ON syncd.rejects (integration) WHERE fingerprint = 'killed-the-process';
