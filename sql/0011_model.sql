-- 0011_model.sql: trained models and their predictions. Only tapedeck-analysis train and score write here.

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
    shrinkage         double precision NOT NULL CHECK (shrinkage BETWEEN 0 AND 1),
    metadata          jsonb            NOT NULL,
    registered_at     timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
);
COMMENT ON TABLE  model                   IS 'Trained models; their trees are files in models/<name>/<version> of the home folder. Written by tapedeck-analysis train and score, never updated.';
COMMENT ON COLUMN model.name              IS 'Name of the model.';
COMMENT ON COLUMN model.version           IS 'UTC time of training and the first digits of the SHA-256 of the trees; sorts by time.';
COMMENT ON COLUMN model.created_at        IS 'When the model was trained, UTC.';
COMMENT ON COLUMN model.dataset           IS 'Name of the dataset it was trained on.';
COMMENT ON COLUMN model.baseline          IS 'Forecast that the model corrects, such as the market price.';
COMMENT ON COLUMN model.features          IS 'Object of feature name to SHA-256 of its definition, hexadecimal; a model whose features have changed is refused.';
COMMENT ON COLUMN model.sources           IS 'Object of data file name to SHA-256 of its bytes, hexadecimal.';
COMMENT ON COLUMN model.first_decision_at IS 'First decision time of its training rows, UTC, microseconds truncated.';
COMMENT ON COLUMN model.last_label_at     IS 'When the last of its training labels became known, UTC, microseconds truncated.';
COMMENT ON COLUMN model.row_count         IS 'Number of training rows.';
COMMENT ON COLUMN model.seed              IS 'Seed of every random choice in its training.';
COMMENT ON COLUMN model.code              IS 'Version of tapedeck and hash of the sources that trained it.';
COMMENT ON COLUMN model.trees             IS 'Number of trees; 0 where no correction of the baseline passed the acceptance test.';
COMMENT ON COLUMN model.shrinkage         IS 'Factor applied to the correction of the trees, 0 to 1.';
COMMENT ON COLUMN model.metadata          IS 'Content of its model.json.';
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
COMMENT ON TABLE  prediction               IS 'Predictions of models, one row per model version, subject and decision time. Written by tapedeck-analysis score, never updated.';
COMMENT ON COLUMN prediction.model_name    IS 'Name of the model (model).';
COMMENT ON COLUMN prediction.model_version IS 'Version of the model (model).';
COMMENT ON COLUMN prediction.subject       IS 'Subject of the prediction: the venue''s id of a market or question, or a symbol.';
COMMENT ON COLUMN prediction.decided_at    IS 'Decision time, UTC, microseconds truncated; data received later was not used.';
COMMENT ON COLUMN prediction.probability   IS 'Predicted probability that the label is 1, 0 to 1.';
COMMENT ON COLUMN prediction.baseline      IS 'Baseline forecast that was corrected, 0 to 1; NULL where there was none.';
COMMENT ON COLUMN prediction.scored_at     IS 'When the row was written, UTC.';

GRANT SELECT, INSERT ON model, prediction TO tapedeck_trainer;
