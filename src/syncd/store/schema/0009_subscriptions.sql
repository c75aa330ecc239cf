-- Subscriptions at partners: whoever judges deliveries learns of a changed secret with the transaction that changed it.
-- previous release: runs

CREATE FUNCTION syncd.tell_receivers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('syncd_receivers', coalesce(NEW.integration, OLD.integration));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION syncd.tell_receivers() IS 'NOTIFY syncd_receivers: the secrets of an integration''s webhooks changed.';

CREATE TRIGGER tell_receivers_of_new AFTER INSERT OR UPDATE ON syncd.credentials
    FOR EACH ROW WHEN (NEW.kind = 'webhook') EXECUTE FUNCTION syncd.tell_receivers();
CREATE TRIGGER tell_receivers_of_gone AFTER DELETE ON syncd.credentials
    FOR EACH ROW WHEN (OLD.kind = 'webhook') EXECUTE FUNCTION syncd.tell_receivers();
