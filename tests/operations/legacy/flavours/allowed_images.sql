-- The flat list of images of January 2026, and what hung on the batch jobs of that time.

CREATE TABLE allowed_images (
    id BIGSERIAL PRIMARY KEY,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ,
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    project_id BIGINT,
    is_global BOOLEAN DEFAULT FALSE,
    is_pulled BOOLEAN DEFAULT FALSE,
    created_by BIGINT
);
CREATE INDEX idx_allowed_images_deleted_at ON allowed_images (deleted_at);
CREATE INDEX idx_allowed_images_project_id ON allowed_images (project_id);

CREATE TABLE job_logs (
    id BIGSERIAL PRIMARY KEY,
    job_id BIGINT NOT NULL,
    content TEXT
);

CREATE TABLE job_checkpoints (
    id BIGSERIAL PRIMARY KEY,
    job_id BIGINT NOT NULL,
    checkpoint_num BIGINT DEFAULT 0,
    path TEXT,
    created_at TIMESTAMPTZ
);
