-- The first schema, of 17 July 2025: a resource belongs to its project, and nobody is in the database.

CREATE TYPE resource_type AS ENUM ('pod', 'service', 'deployment', 'configmap', 'ingress');
CREATE TYPE user_type AS ENUM ('origin', 'oauth2');
CREATE TYPE user_status AS ENUM ('online', 'offline', 'delete');
CREATE TYPE user_role AS ENUM ('admin', 'manager', 'user');

CREATE TABLE group_list (
    g_id SERIAL PRIMARY KEY,
    group_name VARCHAR(100) NOT NULL,
    description TEXT,
    create_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    update_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE project (
    p_id SERIAL PRIMARY KEY,
    project_name VARCHAR(100) NOT NULL,
    description TEXT,
    g_id INTEGER NOT NULL REFERENCES group_list (g_id),
    create_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    update_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE resource (
    r_id SERIAL PRIMARY KEY,
    p_id INTEGER NOT NULL REFERENCES project (p_id),
    type resource_type NOT NULL,
    name VARCHAR(50) NOT NULL,
    filename VARCHAR(200) NOT NULL,
    description TEXT,
    create_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE users (
    u_id SERIAL PRIMARY KEY,
    username VARCHAR(50) NOT NULL,
    password VARCHAR(255) NOT NULL,
    email VARCHAR(100),
    full_name VARCHAR(50),
    type user_type NOT NULL DEFAULT 'origin',
    status user_status NOT NULL DEFAULT 'offline',
    create_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    update_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE user_group (
    u_id INTEGER NOT NULL REFERENCES users (u_id),
    g_id INTEGER NOT NULL REFERENCES group_list (g_id),
    role user_role NOT NULL DEFAULT 'user',
    create_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    update_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (u_id, g_id)
);

CREATE TABLE audit_logs (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    action VARCHAR(20) NOT NULL,
    resource_type VARCHAR(50) NOT NULL,
    resource_id INTEGER NOT NULL,
    old_data JSONB,
    new_data JSONB,
    ip_address VARCHAR(45),
    user_agent TEXT,
    description TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_audit_logs_user_id ON audit_logs (user_id);

CREATE VIEW project_group_views AS
SELECT g.g_id, g.group_name,
    COUNT(DISTINCT p.p_id) AS project_count,
    COUNT(r.r_id) AS resource_count,
    MAX(g.create_at) AS group_create_at,
    MAX(g.update_at) AS group_update_at
FROM group_list g
LEFT JOIN project p ON p.g_id = g.g_id
LEFT JOIN resource r ON r.p_id = p.p_id
GROUP BY g.g_id, g.group_name;

CREATE VIEW project_resource_views AS
SELECT p.p_id, p.project_name, r.r_id, r.type, r.name, r.filename, r.create_at AS resource_create_at
FROM project p
JOIN resource r ON r.p_id = p.p_id;

CREATE VIEW user_group_views AS
SELECT u.u_id, u.username, g.g_id, g.group_name, m.role
FROM users u
JOIN user_group m ON m.u_id = u.u_id
JOIN group_list g ON g.g_id = m.g_id;

CREATE VIEW users_with_superadmin AS
SELECT u.u_id, u.username, u.password, u.email, u.full_name, u.type, u.status, u.create_at, u.update_at,
    v.u_id IS NOT NULL AS is_super_admin
FROM users u
LEFT JOIN user_group_views v ON v.u_id = u.u_id AND v.group_name = 'super' AND v.role = 'admin';
