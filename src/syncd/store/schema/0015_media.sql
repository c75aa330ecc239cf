-- Which file belongs to which record.
-- previous release: runs

CREATE TABLE syncd.media (
    integration   text COLLATE "C" NOT NULL,
    resource      text COLLATE "C" NOT NULL,
    external_id   text COLLATE "C" NOT NULL,
    place         integer NOT NULL,
    url           text NOT NULL,
    sha256        text COLLATE "C" NOT NULL,
    bytes         bigint NOT NULL,
    content_type  text NOT NULL DEFAULT '',
    etag          text,
    modified      text,
    fetched_at    timestamptz NOT NULL,
    PRIMARY KEY (integration, resource, external_id, place)
);
COMMENT ON TABLE syncd.media IS 'A file of a record at the partner, and where its copy lies: <directory>/<first two of sha256>/<sha256>.';
COMMENT ON COLUMN syncd.media.place IS 'Which of the record''s files, from 0.';
COMMENT ON COLUMN syncd.media.url IS 'Where it was fetched, without query and fragment: those may hold a signature.';
CREATE INDEX media_by_content ON syncd.media (sha256);
