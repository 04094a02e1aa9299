-- Storage of the ORM, for which Holdfast has no table.

CREATE TABLE group_pvcs (
    id VARCHAR(100) PRIMARY KEY,
    name VARCHAR(100) NOT NULL,
    group_id BIGINT NOT NULL,
    namespace VARCHAR(100) NOT NULL,
    pvc_name VARCHAR(100) NOT NULL,
    size VARCHAR(50) NOT NULL,
    capacity BIGINT NOT NULL,
    storage_class VARCHAR(100) DEFAULT 'longhorn',
    access_mode VARCHAR(50) DEFAULT 'ReadWriteMany',
    status VARCHAR(50) DEFAULT 'Pending',
    created_by BIGINT NOT NULL,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX uidx_pvc ON group_pvcs (pvc_name);

CREATE TABLE group_storage_permissions (
    id BIGSERIAL PRIMARY KEY,
    group_id BIGINT NOT NULL,
    pvc_id VARCHAR(100) NOT NULL,
    user_id BIGINT NOT NULL,
    permission VARCHAR(20) NOT NULL DEFAULT 'none',
    granted_by BIGINT NOT NULL,
    granted_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX idx_group_pvc_user ON group_storage_permissions (group_id, pvc_id, user_id);

CREATE TABLE group_storage_access_policies (
    id BIGSERIAL PRIMARY KEY,
    group_id BIGINT NOT NULL,
    pvc_id VARCHAR(100) NOT NULL,
    default_permission VARCHAR(20) NOT NULL DEFAULT 'none',
    admin_only BOOLEAN DEFAULT FALSE,
    created_by BIGINT NOT NULL,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX idx_group_storage_access_policies_pvc_id ON group_storage_access_policies (pvc_id);

CREATE TABLE project_pvc_bindings (
    id BIGSERIAL PRIMARY KEY,
    project_id BIGINT NOT NULL,
    group_pvc_id VARCHAR(100) NOT NULL,
    pvc_name VARCHAR(100) NOT NULL,
    namespace VARCHAR(100) NOT NULL,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ
);

CREATE TABLE persistent_volume_claims (
    id BIGSERIAL PRIMARY KEY,
    name VARCHAR(100) NOT NULL,
    namespace VARCHAR(100) NOT NULL,
    size VARCHAR(50),
    status VARCHAR(50) DEFAULT 'Pending',
    storage_class_name VARCHAR(100),
    access_mode VARCHAR(50) DEFAULT 'ReadWriteMany',
    project_id BIGINT,
    project_name VARCHAR(255),
    is_global BOOLEAN DEFAULT FALSE,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ
);

CREATE TABLE storage_hubs (
    id BIGSERIAL PRIMARY KEY,
    name VARCHAR(100) NOT NULL,
    namespace VARCHAR(100) NOT NULL,
    pvc_name VARCHAR(100) NOT NULL,
    mount_path VARCHAR(255) DEFAULT '/data',
    type VARCHAR(50) DEFAULT 'group',
    owner VARCHAR(100),
    status VARCHAR(50) DEFAULT 'Pending',
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ
);
