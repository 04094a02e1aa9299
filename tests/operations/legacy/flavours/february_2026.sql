-- What the ORM made of its models in February 2026. It declared few keys between the tables.

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
    create_at TIMESTAMPTZ,
    update_at TIMESTAMPTZ
);

CREATE TABLE config_files (
    cf_id BIGSERIAL PRIMARY KEY,
    filename VARCHAR(200) NOT NULL,
    content VARCHAR(10000),
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
