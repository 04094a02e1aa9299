-- Course workloads of the ORM.

CREATE TABLE course_workloads (
    id BIGSERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    project_id BIGINT NOT NULL,
    name VARCHAR(100) NOT NULL,
    namespace VARCHAR(100) NOT NULL,
    image VARCHAR(255) NOT NULL,
    status VARCHAR(50) DEFAULT 'Pending',
    k8s_pod_name VARCHAR(100) NOT NULL,
    priority BIGINT DEFAULT 1000,
    resource_cpu VARCHAR(50),
    resource_mem VARCHAR(50),
    resource_gpu BIGINT,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ
);
