-- Casts that never fail, for the typed views: one odd value in an old record must not break a query over all of them.
-- previous release: none

CREATE FUNCTION syncd.as_text(value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE jsonb_typeof(value) WHEN 'null' THEN NULL ELSE value #>> '{}' END $$;

CREATE FUNCTION syncd.as_numeric(value jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN jsonb_typeof(value) = 'number' THEN value::numeric
        WHEN jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^[+-]?[0-9]{1,200}(\.[0-9]{1,200})?$' THEN (value #>> '{}')::numeric
    END
$$;

CREATE FUNCTION syncd.as_bigint(value jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN abs(n) < 9223372036854775807 AND n = trunc(n) THEN n::bigint END FROM syncd.as_numeric(value) AS n
$$;

CREATE FUNCTION syncd.as_double(value jsonb) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN n = 0 OR abs(n) BETWEEN 1e-300 AND 1e300 THEN n::double precision END FROM syncd.as_numeric(value) AS n
$$;

CREATE FUNCTION syncd.as_boolean(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN jsonb_typeof(value) = 'boolean' THEN value::boolean
        WHEN lower(value #>> '{}') IN ('true', 'false') THEN (lower(value #>> '{}'))::boolean
    END
$$;

CREATE FUNCTION syncd.as_timestamptz(value jsonb) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
BEGIN
    IF jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}' THEN
        RETURN (value #>> '{}')::timestamptz;
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;

CREATE FUNCTION syncd.as_date(value jsonb) RETURNS date
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
BEGIN
    IF jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}' THEN
        RETURN left(value #>> '{}', 10)::date;
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;
