-- 0011_model.sql: models that were trained, and what they said. Only tapedeck-analysis train and score write here.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tapedeck_trainer') THEN
        BEGIN
            CREATE ROLE tapedeck_trainer NOLOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE insufficient_privilege USING MESSAGE =
                    'role tapedeck_trainer is missing and this login may not create it; '
                    'have a superuser run: CREATE ROLE tapedeck_trainer NOLOGIN';
        END;
    END IF;
END
$$;

CREATE TABLE model (
    name              text             NOT NULL,
    version           text             NOT NULL,
    created_at        timestamptz      NOT NULL,
    dataset           text             NOT NULL,
    baseline          text             NOT NULL,
    features          jsonb            NOT NULL,
    sources           jsonb            NOT NULL,
    first_decision_at timestamptz      NOT NULL,
    last_label_at     timestamptz      NOT NULL,
    row_count         bigint           NOT NULL CHECK (row_count >= 0),
    seed              bigint           NOT NULL,
    code              text             NOT NULL,
    trees             bigint           NOT NULL CHECK (trees >= 0),
    share             double precision NOT NULL CHECK (share BETWEEN 0 AND 1),
    facts             jsonb            NOT NULL,
    registered_at     timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
);
COMMENT ON TABLE  model                   IS 'Models that were trained; their trees are files in models/<name>/<version> of the home. Written by tapedeck-analysis train and score, never updated.';
COMMENT ON COLUMN model.name              IS 'Name of the model.';
COMMENT ON COLUMN model.version           IS 'UTC time of its making and the begin of the SHA-256 of its trees; sorts by time.';
COMMENT ON COLUMN model.created_at        IS 'When it was trained, UTC.';
COMMENT ON COLUMN model.dataset           IS 'Set of rows it was trained on.';
COMMENT ON COLUMN model.baseline          IS 'Forecast that it corrects, such as the market price.';
COMMENT ON COLUMN model.features          IS 'Object: feature -> SHA-256 of its definition, hexadecimal; a model whose features changed is refused.';
COMMENT ON COLUMN model.sources           IS 'Object: data file -> SHA-256 of its bytes, hexadecimal.';
COMMENT ON COLUMN model.first_decision_at IS 'First decision time among its training rows, UTC, microseconds truncated.';
COMMENT ON COLUMN model.last_label_at     IS 'When the last of its training labels was known, UTC, microseconds truncated.';
COMMENT ON COLUMN model.row_count         IS 'Training rows.';
COMMENT ON COLUMN model.seed              IS 'Of every random choice of its training.';
COMMENT ON COLUMN model.code              IS 'Version of tapedeck and hash of the sources that trained it.';
COMMENT ON COLUMN model.trees             IS 'Number of trees; 0 where no correction of the baseline earned its place.';
COMMENT ON COLUMN model.share             IS 'Share of the trees'' correction that is used, 0 to 1.';
COMMENT ON COLUMN model.facts             IS 'The whole of its model.json.';
COMMENT ON COLUMN model.registered_at     IS 'When the row was written, UTC.';

CREATE TABLE prediction (
    model_name    text             NOT NULL,
    model_version text             NOT NULL,
    subject       text             NOT NULL,
    decided_at    timestamptz      NOT NULL,
    probability   double precision NOT NULL CHECK (probability BETWEEN 0 AND 1),
    baseline      double precision CHECK (baseline BETWEEN 0 AND 1),
    scored_at     timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (model_name, model_version, subject, decided_at),
    FOREIGN KEY (model_name, model_version) REFERENCES model (name, version)
);
COMMENT ON TABLE  prediction               IS 'What a model said of a subject at a decision time, once each. Written by tapedeck-analysis score, never updated.';
COMMENT ON COLUMN prediction.model_name    IS 'Which model (model).';
COMMENT ON COLUMN prediction.model_version IS 'Which version of it (model).';
COMMENT ON COLUMN prediction.subject       IS 'What it is about: the venue''s id of a market or question, or a symbol.';
COMMENT ON COLUMN prediction.decided_at    IS 'Decision time: nothing received later was used, UTC, microseconds truncated.';
COMMENT ON COLUMN prediction.probability   IS 'Forecast that the label is 1, 0 to 1.';
COMMENT ON COLUMN prediction.baseline      IS 'The forecast that was corrected, 0 to 1; NULL where there was none.';
COMMENT ON COLUMN prediction.scored_at     IS 'When the row was written, UTC.';

GRANT USAGE ON SCHEMA public TO tapedeck_trainer;
GRANT SELECT ON schema_migration TO tapedeck_trainer;
GRANT SELECT, INSERT ON model, prediction TO tapedeck_trainer;
