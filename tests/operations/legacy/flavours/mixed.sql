-- What the ORM added to the hand-written schema in January and February 2026. The older tables stay beside the newer ones.

ALTER TABLE config_files ALTER COLUMN content TYPE VARCHAR(10000);

CREATE TABLE project_list (
    p_id BIGSERIAL PRIMARY KEY,
    project_name VARCHAR(100) NOT NULL,
    description TEXT,
    g_id BIGINT NOT NULL,
    gpu_quota BIGINT DEFAULT 0,
    gpu_access TEXT DEFAULT 'shared',
    mps_memory BIGINT DEFAULT 0,
    create_at TIMESTAMPTZ,
    update_at TIMESTAMPTZ
);

CREATE TABLE resource_list (
    r_id BIGSERIAL PRIMARY KEY,
    cf_id BIGINT NOT NULL,
    type resource_type NOT NULL,
    name VARCHAR(50) NOT NULL,
    parsed_yaml JSONB NOT NULL,
    description TEXT,
    create_at TIMESTAMPTZ
);

CREATE TABLE gpu_requests (
    id BIGSERIAL PRIMARY KEY,
    project_id BIGINT NOT NULL,
    requester_id BIGINT NOT NULL,
    type VARCHAR(20) NOT NULL,
    requested_quota BIGINT DEFAULT 0,
    requested_access_type VARCHAR(20),
    reason TEXT,
    status VARCHAR(20) DEFAULT 'pending',
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ
);

ALTER TABLE jobs
    ADD COLUMN project_id BIGINT,
    ADD COLUMN job_type VARCHAR(20) DEFAULT 'normal',
    ADD COLUMN priority VARCHAR(20) DEFAULT 'low',
    ADD COLUMN command TEXT,
    ADD COLUMN gpu_count BIGINT DEFAULT 0,
    ADD COLUMN mp_iprocesses BIGINT DEFAULT 0;
