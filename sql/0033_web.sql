-- 0033_web.sql: users of the pages and the API, their logins, and what they did.

-- Roles belong to the server, so another database may have created it, or may be creating it right now.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tapedeck_web') THEN
        CREATE ROLE tapedeck_web NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE insufficient_privilege USING MESSAGE =
            'this login may not create the missing role tapedeck_web; have a superuser run: CREATE ROLE tapedeck_web NOLOGIN;';
END
$$;

CREATE TABLE app_user (
    user_id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text        NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._@-]{0,63}$'),
    role          text        NOT NULL CHECK (role IN ('viewer', 'analyst', 'admin')),
    password_hash text        NOT NULL CHECK (length(password_hash) <= 512),
    active        boolean     NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now(),
    last_login_at timestamptz
);
COMMENT ON TABLE  app_user               IS 'Users of the pages and the API. Written by bin/web and tapedeck users. Not readable by tapedeck_reader.';
COMMENT ON COLUMN app_user.user_id       IS 'Number of the user.';
COMMENT ON COLUMN app_user.name          IS 'Name to log in with, lower case.';
COMMENT ON COLUMN app_user.role          IS 'viewer: reads; analyst: exports, too; admin: manages users, too.';
COMMENT ON COLUMN app_user.password_hash IS 'Argon2id hash of the password with its parameters and salt.';
COMMENT ON COLUMN app_user.active        IS 'Whether the user may log in. A user is not deleted, because the audit log names it.';
COMMENT ON COLUMN app_user.created_at    IS 'When the user was added, UTC.';
COMMENT ON COLUMN app_user.changed_at    IS 'When role, password or active was last changed, UTC.';
COMMENT ON COLUMN app_user.last_login_at IS 'When the user last logged in, UTC; NULL before.';

CREATE TABLE app_session (
    session_id    text        PRIMARY KEY CHECK (session_id ~ '^[0-9a-f]{32}$'),
    user_id       bigint      NOT NULL REFERENCES app_user,
    kind          text        NOT NULL CHECK (kind IN ('page', 'api', 'command')),
    token_hash    bytea       NOT NULL CHECK (length(token_hash) = 32),
    previous_hash bytea       CHECK (length(previous_hash) = 32),
    rotated_at    timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    address       text        NOT NULL CHECK (length(address) <= 64),
    agent         text        NOT NULL CHECK (length(agent) <= 200),
    revoked_at    timestamptz,
    revoke_reason text
);
CREATE INDEX app_session_user_id ON app_session (user_id);
CREATE INDEX app_session_revoked_at ON app_session (revoked_at);
COMMENT ON TABLE  app_session               IS 'Logins of users, one row each. Written by bin/web and tapedeck users. Not readable by tapedeck_reader.';
COMMENT ON COLUMN app_session.session_id    IS 'Random id of the login, 32 hexadecimal digits; each access token names it.';
COMMENT ON COLUMN app_session.user_id       IS 'Who logged in (app_user).';
COMMENT ON COLUMN app_session.kind          IS 'page: a browser; api: a program; command: tapedeck users token.';
COMMENT ON COLUMN app_session.token_hash    IS 'SHA-256 of the refresh token that is valid now; each is used once.';
COMMENT ON COLUMN app_session.previous_hash IS 'SHA-256 of the one before, which two tabs may use within 10 s; later use of it or of an older one ends the login.';
COMMENT ON COLUMN app_session.rotated_at    IS 'When the refresh token was last replaced, UTC.';
COMMENT ON COLUMN app_session.created_at    IS 'When the user logged in, UTC.';
COMMENT ON COLUMN app_session.expires_at    IS 'When the login ends unless it is used before, UTC.';
COMMENT ON COLUMN app_session.address       IS 'Address of the client at login.';
COMMENT ON COLUMN app_session.agent         IS 'Name that the client gave itself, cut at 200 characters.';
COMMENT ON COLUMN app_session.revoked_at    IS 'When the login was ended before its time, UTC; NULL while it was not.';
COMMENT ON COLUMN app_session.revoke_reason IS 'Why: logout, revoked, reuse, user changed; NULL while it was not.';

CREATE TABLE audit_log (
    audit_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    name     text        NOT NULL CHECK (length(name) <= 64),
    address  text        NOT NULL CHECK (length(address) <= 64),
    action   text        NOT NULL CHECK (length(action) <= 40),
    object   text        NOT NULL CHECK (length(object) <= 300),
    outcome  text        NOT NULL CHECK (outcome IN ('done', 'refused', 'failed'))
);
CREATE INDEX audit_log_at ON audit_log (at);
COMMENT ON TABLE  audit_log          IS 'What users did that others may ask about. Written by bin/web and tapedeck users; rows are never changed, and removed after a year. Not readable by tapedeck_reader.';
COMMENT ON COLUMN audit_log.audit_id IS 'Number of the row, in the order of writing.';
COMMENT ON COLUMN audit_log.at       IS 'When it was done, by our clock, UTC.';
COMMENT ON COLUMN audit_log.name     IS 'Who: name of the user, or the name that was given at a login that failed; empty without one.';
COMMENT ON COLUMN audit_log.address  IS 'Address of the client; local for a command on this machine.';
COMMENT ON COLUMN audit_log.action   IS 'What: login, logout, refresh, user.add, user.change, session.revoke, export, ...';
COMMENT ON COLUMN audit_log.object   IS 'What it was done to: a user, a login, a range.';
COMMENT ON COLUMN audit_log.outcome  IS 'done, refused (not allowed), or failed (wrong password, unknown, fault).';

CREATE FUNCTION prune_audit() RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH gone AS (DELETE FROM public.audit_log WHERE at < now() - interval '366 days' RETURNING 1)
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION prune_audit() IS 'Removes rows of audit_log that are older than 366 days; returns their number.';

-- 0001_base.sql gives every new table to tapedeck_reader. These are not for it.
REVOKE ALL ON app_user, app_session, audit_log FROM tapedeck_reader;
REVOKE EXECUTE ON FUNCTION prune_audit() FROM PUBLIC;

GRANT USAGE ON SCHEMA public TO tapedeck_web;
GRANT SELECT ON schema_migration TO tapedeck_web;
GRANT SELECT, INSERT, UPDATE ON app_user TO tapedeck_web;
GRANT SELECT, INSERT, UPDATE, DELETE ON app_session TO tapedeck_web;
GRANT SELECT, INSERT ON audit_log TO tapedeck_web;
GRANT EXECUTE ON FUNCTION prune_audit() TO tapedeck_web;
