-- 0001_base.sql: group roles, default privileges, the schema of the day partitions, and the record of migrations.

-- Roles belong to the server, so another database may have created them, or may be creating them right now.
-- The login may lack the right to create roles. The error then lists every missing role, not only the first.
DO $$
DECLARE
    role_name text;
    missing   text[] := '{}';
BEGIN
    FOREACH role_name IN ARRAY ARRAY['tapedeck_writer', 'tapedeck_recorder', 'tapedeck_reader', 'tapedeck_replay',
                                 'tapedeck_trainer'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN missing := missing || role_name;
            END;
        END IF;
    END LOOP;
    IF missing <> '{}' THEN
        RAISE insufficient_privilege USING MESSAGE = pg_catalog.format(
            'this login may not create the missing roles %s; have a superuser run: %s',
            pg_catalog.array_to_string(missing, ', '),
            (SELECT pg_catalog.string_agg(pg_catalog.format('CREATE ROLE %I NOLOGIN;', name), ' ')
               FROM pg_catalog.unnest(missing) AS name));
    END IF;
END
$$;

CREATE SCHEMA partition;
COMMENT ON SCHEMA partition IS 'Day partitions of trade, quote and book, kept out of public so that \dt lists the tables only.';

-- The owner creates partitions later through ensure_partition. A reader may also query a partition by its name.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO tapedeck_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA partition GRANT SELECT ON TABLES TO tapedeck_reader;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO tapedeck_writer, tapedeck_recorder, tapedeck_reader, tapedeck_replay, tapedeck_trainer;
GRANT USAGE ON SCHEMA partition TO tapedeck_reader;

CREATE TABLE schema_migration (
    version    integer     PRIMARY KEY CHECK (version > 0),
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  schema_migration            IS 'Files of sql/ applied to this database. Written by bin/migrate only.';
COMMENT ON COLUMN schema_migration.version    IS 'Four-digit number of the file.';
COMMENT ON COLUMN schema_migration.name       IS 'File name.';
COMMENT ON COLUMN schema_migration.checksum   IS 'SHA-256 of the file as applied, hexadecimal; an applied file never changes.';
COMMENT ON COLUMN schema_migration.applied_at IS 'When the file was applied, UTC.';
GRANT SELECT ON schema_migration TO tapedeck_writer, tapedeck_replay, tapedeck_trainer;
