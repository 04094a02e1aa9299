-- What the ORM made of its models in early January 2026: flat images, GPU requests and batch jobs.

CREATE TYPE resource_type AS ENUM ('Pod', 'Service', 'Deployment', 'ConfigMap', 'Ingress');
CREATE TYPE user_type AS ENUM ('origin', 'oauth2');
CREATE TYPE user_status AS ENUM ('online', 'offline', 'delete');
CREATE TYPE user_role AS ENUM ('admin', 'manager', 'user');

CREATE TABLE group_list (
    g_id BIGSERIAL PRIMARY KEY,
    group_name VARCHAR(100) NOT NULL,
    description TEXT,
    create_at TIMESTAMPTZ,
    update_at TIMESTAMPTZ
);

CREATE TABLE users (
    u_id BIGSERIAL PRIMARY KEY,
    username VARCHAR(50) NOT NULL CONSTRAINT uni_users_username UNIQUE,
    password VARCHAR(255) NOT NULL,
    email VARCHAR(100),
    full_name VARCHAR(50),
    type user_type NOT NULL DEFAULT 'origin',
    status user_status NOT NULL DEFAULT 'offline',
    create_at TIMESTAMPTZ,
    update_at TIMESTAMPTZ
);

CREATE TABLE user_group (
    u_id BIGINT,
    g_id BIGINT,
    role user_role NOT NULL DEFAULT 'user',
    create_at TIMESTAMPTZ,
    update_at TIMESTAMPTZ,
    PRIMARY KEY (u_id, g_id)
);

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

CREATE TABLE config_files (
    cf_id BIGSERIAL PRIMARY KEY,
    filename VARCHAR(200) NOT NULL,
    content VARCHAR(5000),
    project_id BIGINT NOT NULL,
    create_at TIMESTAMPTZ
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

CREATE TABLE audit_logs (
    id BIGSERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    action VARCHAR(20) NOT NULL,
    resource_type VARCHAR(50) NOT NULL,
    resource_id TEXT NOT NULL,
    old_data JSONB,
    new_data JSONB,
    ip_address VARCHAR(45),
    user_agent TEXT,
    description TEXT,
    created_at TIMESTAMPTZ
);
CREATE INDEX idx_audit_logs_user_id ON audit_logs (user_id);
CREATE INDEX idx_audit_logs_resource_id ON audit_logs (resource_id);

CREATE TABLE image_requests (
    id BIGSERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    project_id BIGINT,
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    status VARCHAR(20) DEFAULT 'pending',
    note TEXT,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ
);
CREATE INDEX idx_image_requests_user_id ON image_requests (user_id);

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

CREATE TABLE jobs (
    id BIGSERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    project_id BIGINT,
    name VARCHAR(100) NOT NULL,
    namespace VARCHAR(100) NOT NULL,
    image VARCHAR(255) NOT NULL,
    status VARCHAR(50) DEFAULT 'pending',
    job_type VARCHAR(20) DEFAULT 'normal',
    priority VARCHAR(20) DEFAULT 'low',
    k8s_job_name VARCHAR(100) NOT NULL,
    command TEXT,
    args TEXT,
    working_dir VARCHAR(255),
    env_vars TEXT,
    gpu_count BIGINT DEFAULT 0,
    gpu_type VARCHAR(50),
    cpu_request VARCHAR(50),
    memory_request VARCHAR(50),
    mp_iprocesses BIGINT DEFAULT 0,
    output_path TEXT,
    checkpoint_path TEXT,
    log_path TEXT,
    enable_checkpoint BOOLEAN DEFAULT FALSE,
    checkpoint_interval BIGINT DEFAULT 0,
    volumes TEXT,
    restart_count BIGINT DEFAULT 0,
    exit_code BIGINT,
    error_message TEXT,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ
);
