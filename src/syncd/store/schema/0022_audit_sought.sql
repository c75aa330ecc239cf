-- Of a year's rows the marks on plots want a day, and reminders want those that put a credential in place.
-- previous release: runs, from 0021

CREATE INDEX audit_log_at ON syncd.audit_log (at, id);
CREATE INDEX audit_log_action ON syncd.audit_log (action, id);
