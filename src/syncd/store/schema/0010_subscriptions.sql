-- Subscriptions at partners.
-- previous release: runs

SELECT 1;
