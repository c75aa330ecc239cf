-- Whether a lease's owner can be found dead before its lease runs out.
-- previous release: runs

ALTER TABLE syncd.leases ADD COLUMN proven_in timestamptz;
COMMENT ON COLUMN syncd.leases.proven_in IS 'When the server was started in which the owner holds the lock that goes with its process. NULL: it holds none, and only expires_at tells that it is gone.';
