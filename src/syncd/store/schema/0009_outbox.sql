-- Pushes: the oldest of a record first, and word that there is one.
-- previous release: runs

SELECT 1;
