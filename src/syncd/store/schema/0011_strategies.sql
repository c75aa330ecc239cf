-- Comparisons and backfills.
-- previous release: runs

SELECT 1;
