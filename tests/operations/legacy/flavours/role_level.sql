-- Some copies name the role of a member otherwise.

ALTER TABLE user_group RENAME COLUMN role TO role_level;
