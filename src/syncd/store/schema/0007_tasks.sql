-- Tasks that end with the process.
-- previous release: runs

SELECT 1;
