-- A renormalization that the file changes under begins anew: what was read by the mapping before is to be read again.
-- previous release: runs

ALTER TABLE syncd.renormalizations ADD COLUMN reading text NOT NULL DEFAULT '';
COMMENT ON COLUMN syncd.renormalizations.reading IS 'Which mapping and which shares of it the records up to the cursor were read by.';
