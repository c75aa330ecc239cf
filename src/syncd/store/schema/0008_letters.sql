-- Dead letters on their way back.
-- previous release: runs

SELECT 1;
