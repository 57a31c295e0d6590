-- 0001_base.sql: the group roles, who may do what by default, and the record of applied migrations.

-- Roles belong to the whole server: another database may have made them, or be making them at this moment.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['tapedeck_writer', 'tapedeck_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE insufficient_privilege USING MESSAGE = pg_catalog.format(
                        'role %s is missing and this login may not create it; '
                        'have a superuser run: CREATE ROLE %I NOLOGIN', role_name, role_name);
            END;
        END IF;
    END LOOP;
END
$$;

-- Day partitions are made later by the owner through ensure_partition; a reader may open them by name too.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO tapedeck_reader;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO tapedeck_writer, tapedeck_reader;

CREATE TABLE schema_migration (
    version    integer     PRIMARY KEY CHECK (version > 0),
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  schema_migration            IS 'Files of sql/ that made this schema. Written by bin/migrate only.';
COMMENT ON COLUMN schema_migration.version    IS 'The four-digit number of the file.';
COMMENT ON COLUMN schema_migration.name       IS 'File name.';
COMMENT ON COLUMN schema_migration.checksum   IS 'SHA-256 of the file as applied, hexadecimal; an applied file never changes.';
COMMENT ON COLUMN schema_migration.applied_at IS 'When it was applied, UTC.';
GRANT SELECT ON schema_migration TO tapedeck_writer;
