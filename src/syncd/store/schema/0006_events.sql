-- What is learned from deliveries: the event types an integration sends, known and unknown.
-- previous release: runs

SELECT 1;
