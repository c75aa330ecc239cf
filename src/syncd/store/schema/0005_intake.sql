-- Deliveries as they come: what intake needs of the inbox.
-- previous release: runs

SELECT 1;
