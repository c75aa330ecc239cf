-- Stored records whose adapter ends the process are not read again for ever.
-- previous release: runs

ALTER TABLE syncd.renormalizations ADD COLUMN deaths integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN syncd.renormalizations.deaths IS 'How often in a row its owner ended while a batch was in hand; a batch that is done forgets them.';
