-- The same shape in a file of SQLite, which keeps what it gets: numbers as text, flags and times in columns of text.

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username VARCHAR(50) NOT NULL UNIQUE,
    password VARCHAR(255) NOT NULL,
    email VARCHAR(100),
    full_name VARCHAR(50),
    type VARCHAR(20) NOT NULL DEFAULT 'origin',
    status VARCHAR(20) NOT NULL DEFAULT 'offline',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE group_list (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_name VARCHAR(100) NOT NULL,
    description TEXT,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE user_group (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INT NOT NULL,
    g_id INT NOT NULL,
    role VARCHAR(20) NOT NULL DEFAULT 'user',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE project_list (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_name VARCHAR(100) NOT NULL,
    description TEXT,
    g_id INT NOT NULL,
    gpu_quota INT NOT NULL DEFAULT 0,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE config_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    filename VARCHAR(200) NOT NULL,
    content TEXT,
    project_id INT NOT NULL,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE resources (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    cf_id INT NOT NULL,
    type VARCHAR(50) NOT NULL,
    name VARCHAR(50) NOT NULL,
    parsed_yaml JSON NOT NULL,
    description TEXT,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE forms (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    project_id INT,
    title TEXT NOT NULL,
    description TEXT,
    tag VARCHAR(100),
    status VARCHAR(20) NOT NULL DEFAULT 'Pending',
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at TEXT
);

CREATE TABLE form_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    form_id INT NOT NULL,
    user_id INT NOT NULL,
    content TEXT NOT NULL,
    created_at NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE container_repositories (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    registry VARCHAR(255) NOT NULL DEFAULT 'docker.io',
    namespace VARCHAR(255),
    name VARCHAR(255) NOT NULL,
    full_name VARCHAR(512) NOT NULL,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at DATETIME
);

CREATE TABLE container_tags (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repository_id VARCHAR(20) NOT NULL,
    name VARCHAR(128) NOT NULL,
    digest VARCHAR(255),
    size TEXT,
    pushed_at DATETIME,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at DATETIME
);

CREATE TABLE image_requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INT NOT NULL,
    project_id INT,
    input_registry TEXT,
    input_image_name TEXT NOT NULL,
    input_tag TEXT NOT NULL,
    status VARCHAR(32) NOT NULL DEFAULT 'pending',
    reviewer_id INT,
    reviewed_at DATETIME,
    reviewer_note TEXT,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at DATETIME
);

CREATE TABLE image_allow_list (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id,
    tag_id INT,
    repository_id INT NOT NULL,
    request_id INT,
    created_by INT NOT NULL,
    is_enabled TEXT NOT NULL DEFAULT 'true',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at DATETIME
);

CREATE TABLE cluster_image_status (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tag_id INT NOT NULL,
    is_pulled NUMERIC NOT NULL DEFAULT 0,
    last_pulled_at DATETIME,
    pull_error TEXT,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at DATETIME
);

CREATE TABLE audit_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INT NOT NULL,
    action VARCHAR(20) NOT NULL,
    resource_type VARCHAR(50) NOT NULL,
    resource_id VARCHAR(500) NOT NULL,
    old_data BLOB,
    new_data JSON,
    ip_address VARCHAR(45),
    user_agent TEXT,
    description TEXT,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE course_workloads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INT NOT NULL,
    project_id NUMERIC NOT NULL,
    name VARCHAR(100) NOT NULL,
    namespace VARCHAR(100) NOT NULL,
    image VARCHAR(255) NOT NULL,
    status VARCHAR(50) NOT NULL DEFAULT 'Pending',
    k8s_pod_name VARCHAR(100) NOT NULL,
    priority REAL NOT NULL DEFAULT 1000,
    resource_cpu VARCHAR(50),
    resource_mem VARCHAR(50),
    resource_gpu INT,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    started_at DATETIME
);
