-- Forms of the ORM.

CREATE TABLE forms (
    id BIGSERIAL PRIMARY KEY,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ,
    user_id BIGINT CONSTRAINT fk_forms_user REFERENCES users (u_id),
    project_id BIGINT CONSTRAINT fk_forms_project REFERENCES project_list (p_id),
    title TEXT,
    description TEXT,
    tag TEXT,
    status TEXT DEFAULT 'Pending'
);
CREATE INDEX idx_forms_deleted_at ON forms (deleted_at);

CREATE TABLE form_messages (
    id BIGSERIAL PRIMARY KEY,
    form_id BIGINT CONSTRAINT fk_forms_messages REFERENCES forms (id),
    user_id BIGINT,
    content TEXT,
    created_at TIMESTAMPTZ
);
