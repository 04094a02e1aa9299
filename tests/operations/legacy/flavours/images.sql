-- Repositories, tags, requests and rules of February 2026. Nothing makes a name unique.

CREATE TABLE container_repositories (
    id BIGSERIAL PRIMARY KEY,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ,
    registry VARCHAR(255) DEFAULT 'docker.io',
    namespace VARCHAR(255),
    name VARCHAR(255),
    full_name VARCHAR(512)
);
CREATE INDEX idx_container_repositories_deleted_at ON container_repositories (deleted_at);
CREATE INDEX idx_container_repositories_name ON container_repositories (name);
CREATE INDEX idx_container_repositories_full_name ON container_repositories (full_name);

CREATE TABLE container_tags (
    id BIGSERIAL PRIMARY KEY,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ,
    repository_id BIGINT NOT NULL CONSTRAINT fk_container_repositories_tags REFERENCES container_repositories (id),
    name VARCHAR(128),
    digest VARCHAR(255),
    size BIGINT,
    pushed_at TIMESTAMPTZ
);
CREATE INDEX idx_container_tags_deleted_at ON container_tags (deleted_at);
CREATE INDEX idx_container_tags_repository_id ON container_tags (repository_id);
CREATE INDEX idx_container_tags_name ON container_tags (name);

CREATE TABLE image_requests (
    id BIGSERIAL PRIMARY KEY,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ,
    user_id BIGINT,
    project_id BIGINT,
    input_registry TEXT,
    input_image_name TEXT,
    input_tag TEXT,
    status VARCHAR(32) DEFAULT 'pending',
    reviewer_id BIGINT,
    reviewed_at TIMESTAMPTZ,
    reviewer_note TEXT
);
CREATE INDEX idx_image_requests_deleted_at ON image_requests (deleted_at);
CREATE INDEX idx_image_requests_user_id ON image_requests (user_id);
CREATE INDEX idx_image_requests_project_id ON image_requests (project_id);
CREATE INDEX idx_image_requests_status ON image_requests (status);

CREATE TABLE image_allow_lists (
    id BIGSERIAL PRIMARY KEY,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ,
    project_id BIGINT,
    tag_id BIGINT CONSTRAINT fk_image_allow_lists_tag REFERENCES container_tags (id),
    repository_id BIGINT NOT NULL CONSTRAINT fk_image_allow_lists_repository REFERENCES container_repositories (id),
    request_id BIGINT,
    created_by BIGINT,
    is_enabled BOOLEAN DEFAULT TRUE
);
CREATE INDEX idx_image_allow_lists_deleted_at ON image_allow_lists (deleted_at);
CREATE INDEX idx_image_allow_lists_project_id ON image_allow_lists (project_id);
CREATE INDEX idx_image_allow_lists_tag_id ON image_allow_lists (tag_id);
CREATE INDEX idx_image_allow_lists_repository_id ON image_allow_lists (repository_id);

CREATE TABLE cluster_image_statuses (
    id BIGSERIAL PRIMARY KEY,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ,
    tag_id BIGINT,
    is_pulled BOOLEAN DEFAULT FALSE,
    last_pulled_at TIMESTAMPTZ,
    pull_error TEXT
);
CREATE INDEX idx_cluster_image_statuses_deleted_at ON cluster_image_statuses (deleted_at);
CREATE UNIQUE INDEX idx_cluster_image_statuses_tag_id ON cluster_image_statuses (tag_id);
