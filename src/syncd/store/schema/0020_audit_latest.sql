-- What was done lately is asked for every few seconds: by the page, by the plots that show it, by `syncd changes`.
-- previous release: runs, from 0019

CREATE INDEX audit_log_latest ON syncd.audit_log (id);
