CREATE PROCEDURE cleanup_must_be_called_outside_of_a_transaction()
LANGUAGE plpgsql AS $procedure$
BEGIN
  COMMIT;
END
$procedure$

CREATE PROCEDURE cleanup_soft_deleted(days numeric, INOUT report json DEFAULT NULL)
LANGUAGE plpgsql AS $procedure$
-- Purges the deletions older than `days` days whose recovery bundle is verified; nothing else is touched.
-- Written from the foreign keys of the tables: make changes in a migration, never here.
DECLARE
  chunk_rows CONSTANT integer := 500;
  most_conflicts CONSTANT integer := 20;
  lease_time CONSTANT interval := '2 minutes';
  lock_number CONSTANT bigint := 7305802111;
  holder CONSTANT text := 'call-' || substr(md5(random()::text || clock_timestamp()::text), 1, 16);
  cutoff timestamptz;
  admin_id text;
  due record;
  step integer;
  first_step integer;
  room integer;
  changed integer;
  kind text;
  target text;
  gone jsonb;
  gone_before jsonb;
  conflicts integer;
  outcome text;
  problem text;
  waiting record;
  purged integer := 0;
  failed integer := 0;
  counts jsonb := '{}';
BEGIN
  -- numeric, so that a number of any size is refused with this sentence.
  IF days IS NULL OR days < 0 OR days > 36500 OR days <> trunc(days) THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
      MESSAGE = 'cleanup_soft_deleted takes a number of days, from 0 to 36500';
  END IF;
  CALL cleanup_must_be_called_outside_of_a_transaction();
  IF NOT pg_try_advisory_xact_lock(lock_number) THEN
    RAISE EXCEPTION USING ERRCODE = 'object_in_use', MESSAGE = 'another cleanup_soft_deleted is running';
  END IF;
  SELECT u_id INTO admin_id FROM users WHERE username = 'admin' AND deletion_id = '';
  IF admin_id IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'no_data_found',
      MESSAGE = 'there is no user admin, in whose name the audit log would show the purge';
  END IF;
  cutoff := clock_timestamp() - make_interval(days => days::integer);
  LOOP
    PERFORM pg_advisory_xact_lock(lock_number);
    -- Deletions may overlap, so one is purged at a time. A lease of another call is left over: this one has the lock.
    EXIT WHEN EXISTS (SELECT FROM deletions d WHERE d.state = 'purging' AND d.lease_until > clock_timestamp()
                         AND NOT starts_with(d.lease_token, 'call-'));
    SELECT d.id, d.root_type, d.root_id, d.root_label, d.state, d.bundle_path, d.bundle_sha256, d.bundle_verified_at
      INTO due
      FROM deletions d
     WHERE d.created_at < cutoff AND d.bundle_verified_at IS NOT NULL AND d.state IN ('deleted', 'purging')
     ORDER BY d.state = 'purging' DESC, d.created_at, d.id LIMIT 1
       FOR UPDATE SKIP LOCKED;
    EXIT WHEN NOT FOUND;
    IF due.state = 'deleted' AND (EXISTS (SELECT FROM audit_logs JOIN users ON audit_logs.user_id = users.u_id WHERE users.deletion_id = due.id AND audit_logs.created_at >= due.bundle_verified_at)) THEN
      -- Its bundle lacks what came after it; it waits for another.
      UPDATE deletions
         SET bundle_path = NULL, bundle_sha256 = NULL, bundle_verified_at = NULL, updated_at = clock_timestamp()
       WHERE id = due.id;
      COMMIT;
      CONTINUE;
    END IF;
    UPDATE deletions
       SET state = 'purging', lease_token = holder, lease_until = clock_timestamp() + lease_time,
           updated_at = clock_timestamp()
     WHERE id = due.id;
    COMMIT;
    IF EXISTS (SELECT FROM deletions d WHERE d.state = 'purging' AND d.id <> due.id) THEN
      -- A worker took another one at the same moment, and sees this one in its turn: both step back.
      UPDATE deletions SET state = due.state, lease_token = NULL, lease_until = clock_timestamp()
       WHERE id = due.id AND lease_token = holder;
      COMMIT;
      EXIT;
    END IF;
    step := 1;
    first_step := 1;
    room := chunk_rows;
    gone := '{}';
    gone_before := '{}';
    conflicts := 0;
    outcome := 'purged';
    problem := NULL;
    LOOP
      IF room = chunk_rows THEN
        -- The first statement of each chunk: nothing may go once another holds the deletion.
        PERFORM pg_advisory_xact_lock(lock_number);
        UPDATE deletions SET lease_until = clock_timestamp() + lease_time
         WHERE id = due.id AND state = 'purging' AND lease_token = holder;
        IF NOT FOUND THEN
          ROLLBACK;
          outcome := 'taken over';
          EXIT;
        END IF;
      END IF;
      EXIT WHEN step > 118;
      changed := NULL;
      BEGIN
        CASE step
        WHEN 1 THEN
          kind := 'remove';
          target := 'resources';
          EXECUTE $step$DELETE FROM resources WHERE ctid = ANY (ARRAY(SELECT resources.ctid FROM resources WHERE resources.deletion_id = $1 LIMIT $2 FOR UPDATE OF resources))$step$
            USING due.id, room;
        WHEN 2 THEN
          kind := 'note';
          target := 'resources';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT resources.deletion_id FROM resources JOIN config_files ON resources.cf_id = config_files.cf_id WHERE config_files.deletion_id = $1 AND resources.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 3 THEN
          kind := 'remove';
          target := 'resources';
          EXECUTE $step$DELETE FROM resources WHERE ctid = ANY (ARRAY(SELECT resources.ctid FROM resources JOIN config_files ON resources.cf_id = config_files.cf_id WHERE config_files.deletion_id = $1 AND resources.deletion_id <> '' LIMIT $2 FOR UPDATE OF resources))$step$
            USING due.id, room;
        WHEN 4 THEN
          kind := 'refuse';
          target := 'resources';
          EXECUTE $step$SELECT FROM resources JOIN config_files ON resources.cf_id = config_files.cf_id WHERE config_files.deletion_id = $1 AND resources.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 5 THEN
          kind := 'note';
          target := 'resources';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT resources.deletion_id FROM resources JOIN config_files ON resources.cf_id = config_files.cf_id JOIN project_list ON config_files.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND resources.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 6 THEN
          kind := 'remove';
          target := 'resources';
          EXECUTE $step$DELETE FROM resources WHERE ctid = ANY (ARRAY(SELECT resources.ctid FROM resources JOIN config_files ON resources.cf_id = config_files.cf_id JOIN project_list ON config_files.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND resources.deletion_id <> '' LIMIT $2 FOR UPDATE OF resources))$step$
            USING due.id, room;
        WHEN 7 THEN
          kind := 'refuse';
          target := 'resources';
          EXECUTE $step$SELECT FROM resources JOIN config_files ON resources.cf_id = config_files.cf_id JOIN project_list ON config_files.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND resources.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 8 THEN
          kind := 'note';
          target := 'resources';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT resources.deletion_id FROM resources JOIN config_files ON resources.cf_id = config_files.cf_id JOIN project_list ON config_files.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND resources.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 9 THEN
          kind := 'remove';
          target := 'resources';
          EXECUTE $step$DELETE FROM resources WHERE ctid = ANY (ARRAY(SELECT resources.ctid FROM resources JOIN config_files ON resources.cf_id = config_files.cf_id JOIN project_list ON config_files.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND resources.deletion_id <> '' LIMIT $2 FOR UPDATE OF resources))$step$
            USING due.id, room;
        WHEN 10 THEN
          kind := 'refuse';
          target := 'resources';
          EXECUTE $step$SELECT FROM resources JOIN config_files ON resources.cf_id = config_files.cf_id JOIN project_list ON config_files.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND resources.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 11 THEN
          kind := 'remove';
          target := 'image_allow_list';
          EXECUTE $step$DELETE FROM image_allow_list WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list WHERE image_allow_list.deletion_id = $1 LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 12 THEN
          kind := 'note';
          target := 'image_allow_list';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT image_allow_list.deletion_id FROM image_allow_list JOIN users ON image_allow_list.created_by = users.u_id WHERE users.deletion_id = $1 AND image_allow_list.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 13 THEN
          kind := 'remove';
          target := 'image_allow_list';
          EXECUTE $step$DELETE FROM image_allow_list WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list JOIN users ON image_allow_list.created_by = users.u_id WHERE users.deletion_id = $1 AND image_allow_list.deletion_id <> '' LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 14 THEN
          kind := 'refuse';
          target := 'image_allow_list';
          EXECUTE $step$SELECT FROM image_allow_list JOIN users ON image_allow_list.created_by = users.u_id WHERE users.deletion_id = $1 AND image_allow_list.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 15 THEN
          kind := 'note';
          target := 'image_allow_list';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT image_allow_list.deletion_id FROM image_allow_list JOIN project_list ON image_allow_list.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND image_allow_list.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 16 THEN
          kind := 'remove';
          target := 'image_allow_list';
          EXECUTE $step$DELETE FROM image_allow_list WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list JOIN project_list ON image_allow_list.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND image_allow_list.deletion_id <> '' LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 17 THEN
          kind := 'refuse';
          target := 'image_allow_list';
          EXECUTE $step$SELECT FROM image_allow_list JOIN project_list ON image_allow_list.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND image_allow_list.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 18 THEN
          kind := 'note';
          target := 'image_allow_list';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT image_allow_list.deletion_id FROM image_allow_list JOIN project_list ON image_allow_list.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND image_allow_list.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 19 THEN
          kind := 'remove';
          target := 'image_allow_list';
          EXECUTE $step$DELETE FROM image_allow_list WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list JOIN project_list ON image_allow_list.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND image_allow_list.deletion_id <> '' LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 20 THEN
          kind := 'refuse';
          target := 'image_allow_list';
          EXECUTE $step$SELECT FROM image_allow_list JOIN project_list ON image_allow_list.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND image_allow_list.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 21 THEN
          kind := 'note';
          target := 'image_allow_list';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT image_allow_list.deletion_id FROM image_allow_list JOIN container_repositories ON image_allow_list.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND image_allow_list.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 22 THEN
          kind := 'remove';
          target := 'image_allow_list';
          EXECUTE $step$DELETE FROM image_allow_list WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list JOIN container_repositories ON image_allow_list.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND image_allow_list.deletion_id <> '' LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 23 THEN
          kind := 'refuse';
          target := 'image_allow_list';
          EXECUTE $step$SELECT FROM image_allow_list JOIN container_repositories ON image_allow_list.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND image_allow_list.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 24 THEN
          kind := 'note';
          target := 'image_allow_list';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT image_allow_list.deletion_id FROM image_allow_list JOIN container_tags ON image_allow_list.tag_id = container_tags.id WHERE container_tags.deletion_id = $1 AND image_allow_list.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 25 THEN
          kind := 'remove';
          target := 'image_allow_list';
          EXECUTE $step$DELETE FROM image_allow_list WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list JOIN container_tags ON image_allow_list.tag_id = container_tags.id WHERE container_tags.deletion_id = $1 AND image_allow_list.deletion_id <> '' LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 26 THEN
          kind := 'refuse';
          target := 'image_allow_list';
          EXECUTE $step$SELECT FROM image_allow_list JOIN container_tags ON image_allow_list.tag_id = container_tags.id WHERE container_tags.deletion_id = $1 AND image_allow_list.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 27 THEN
          kind := 'note';
          target := 'image_allow_list';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT image_allow_list.deletion_id FROM image_allow_list JOIN container_tags ON image_allow_list.tag_id = container_tags.id JOIN container_repositories ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND image_allow_list.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 28 THEN
          kind := 'remove';
          target := 'image_allow_list';
          EXECUTE $step$DELETE FROM image_allow_list WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list JOIN container_tags ON image_allow_list.tag_id = container_tags.id JOIN container_repositories ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND image_allow_list.deletion_id <> '' LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 29 THEN
          kind := 'refuse';
          target := 'image_allow_list';
          EXECUTE $step$SELECT FROM image_allow_list JOIN container_tags ON image_allow_list.tag_id = container_tags.id JOIN container_repositories ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND image_allow_list.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 30 THEN
          kind := 'remove';
          target := 'form_messages';
          EXECUTE $step$DELETE FROM form_messages WHERE ctid = ANY (ARRAY(SELECT form_messages.ctid FROM form_messages WHERE form_messages.deletion_id = $1 LIMIT $2 FOR UPDATE OF form_messages))$step$
            USING due.id, room;
        WHEN 31 THEN
          kind := 'note';
          target := 'form_messages';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT form_messages.deletion_id FROM form_messages JOIN forms ON form_messages.form_id = forms.id WHERE forms.deletion_id = $1 AND form_messages.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 32 THEN
          kind := 'remove';
          target := 'form_messages';
          EXECUTE $step$DELETE FROM form_messages WHERE ctid = ANY (ARRAY(SELECT form_messages.ctid FROM form_messages JOIN forms ON form_messages.form_id = forms.id WHERE forms.deletion_id = $1 AND form_messages.deletion_id <> '' LIMIT $2 FOR UPDATE OF form_messages))$step$
            USING due.id, room;
        WHEN 33 THEN
          kind := 'refuse';
          target := 'form_messages';
          EXECUTE $step$SELECT FROM form_messages JOIN forms ON form_messages.form_id = forms.id WHERE forms.deletion_id = $1 AND form_messages.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 34 THEN
          kind := 'note';
          target := 'form_messages';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT form_messages.deletion_id FROM form_messages JOIN forms ON form_messages.form_id = forms.id JOIN project_list ON forms.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND form_messages.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 35 THEN
          kind := 'remove';
          target := 'form_messages';
          EXECUTE $step$DELETE FROM form_messages WHERE ctid = ANY (ARRAY(SELECT form_messages.ctid FROM form_messages JOIN forms ON form_messages.form_id = forms.id JOIN project_list ON forms.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND form_messages.deletion_id <> '' LIMIT $2 FOR UPDATE OF form_messages))$step$
            USING due.id, room;
        WHEN 36 THEN
          kind := 'refuse';
          target := 'form_messages';
          EXECUTE $step$SELECT FROM form_messages JOIN forms ON form_messages.form_id = forms.id JOIN project_list ON forms.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND form_messages.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 37 THEN
          kind := 'note';
          target := 'form_messages';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT form_messages.deletion_id FROM form_messages JOIN forms ON form_messages.form_id = forms.id JOIN project_list ON forms.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND form_messages.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 38 THEN
          kind := 'remove';
          target := 'form_messages';
          EXECUTE $step$DELETE FROM form_messages WHERE ctid = ANY (ARRAY(SELECT form_messages.ctid FROM form_messages JOIN forms ON form_messages.form_id = forms.id JOIN project_list ON forms.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND form_messages.deletion_id <> '' LIMIT $2 FOR UPDATE OF form_messages))$step$
            USING due.id, room;
        WHEN 39 THEN
          kind := 'refuse';
          target := 'form_messages';
          EXECUTE $step$SELECT FROM form_messages JOIN forms ON form_messages.form_id = forms.id JOIN project_list ON forms.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND form_messages.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 40 THEN
          kind := 'note';
          target := 'form_messages';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT form_messages.deletion_id FROM form_messages JOIN forms ON form_messages.form_id = forms.id JOIN users ON forms.user_id = users.u_id WHERE users.deletion_id = $1 AND form_messages.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 41 THEN
          kind := 'remove';
          target := 'form_messages';
          EXECUTE $step$DELETE FROM form_messages WHERE ctid = ANY (ARRAY(SELECT form_messages.ctid FROM form_messages JOIN forms ON form_messages.form_id = forms.id JOIN users ON forms.user_id = users.u_id WHERE users.deletion_id = $1 AND form_messages.deletion_id <> '' LIMIT $2 FOR UPDATE OF form_messages))$step$
            USING due.id, room;
        WHEN 42 THEN
          kind := 'refuse';
          target := 'form_messages';
          EXECUTE $step$SELECT FROM form_messages JOIN forms ON form_messages.form_id = forms.id JOIN users ON forms.user_id = users.u_id WHERE users.deletion_id = $1 AND form_messages.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 43 THEN
          kind := 'note';
          target := 'form_messages';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT form_messages.deletion_id FROM form_messages JOIN users ON form_messages.user_id = users.u_id WHERE users.deletion_id = $1 AND form_messages.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 44 THEN
          kind := 'remove';
          target := 'form_messages';
          EXECUTE $step$DELETE FROM form_messages WHERE ctid = ANY (ARRAY(SELECT form_messages.ctid FROM form_messages JOIN users ON form_messages.user_id = users.u_id WHERE users.deletion_id = $1 AND form_messages.deletion_id <> '' LIMIT $2 FOR UPDATE OF form_messages))$step$
            USING due.id, room;
        WHEN 45 THEN
          kind := 'refuse';
          target := 'form_messages';
          EXECUTE $step$SELECT FROM form_messages JOIN users ON form_messages.user_id = users.u_id WHERE users.deletion_id = $1 AND form_messages.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 46 THEN
          kind := 'unlink';
          target := 'image_allow_list.request_id';
          EXECUTE $step$UPDATE image_allow_list SET request_id = NULL WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list JOIN image_requests ON image_allow_list.request_id = image_requests.id WHERE image_requests.deletion_id = $1 LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 47 THEN
          kind := 'unlink';
          target := 'image_allow_list.request_id';
          EXECUTE $step$UPDATE image_allow_list SET request_id = NULL WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list JOIN image_requests ON image_allow_list.request_id = image_requests.id JOIN project_list ON image_requests.project_id = project_list.p_id WHERE project_list.deletion_id = $1 LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 48 THEN
          kind := 'unlink';
          target := 'image_allow_list.request_id';
          EXECUTE $step$UPDATE image_allow_list SET request_id = NULL WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list JOIN image_requests ON image_allow_list.request_id = image_requests.id JOIN project_list ON image_requests.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 49 THEN
          kind := 'unlink';
          target := 'image_allow_list.request_id';
          EXECUTE $step$UPDATE image_allow_list SET request_id = NULL WHERE ctid = ANY (ARRAY(SELECT image_allow_list.ctid FROM image_allow_list JOIN image_requests ON image_allow_list.request_id = image_requests.id JOIN users ON image_requests.user_id = users.u_id WHERE users.deletion_id = $1 LIMIT $2 FOR UPDATE OF image_allow_list))$step$
            USING due.id, room;
        WHEN 50 THEN
          kind := 'remove';
          target := 'image_requests';
          EXECUTE $step$DELETE FROM image_requests WHERE ctid = ANY (ARRAY(SELECT image_requests.ctid FROM image_requests WHERE image_requests.deletion_id = $1 LIMIT $2 FOR UPDATE OF image_requests))$step$
            USING due.id, room;
        WHEN 51 THEN
          kind := 'note';
          target := 'image_requests';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT image_requests.deletion_id FROM image_requests JOIN project_list ON image_requests.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND image_requests.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 52 THEN
          kind := 'remove';
          target := 'image_requests';
          EXECUTE $step$DELETE FROM image_requests WHERE ctid = ANY (ARRAY(SELECT image_requests.ctid FROM image_requests JOIN project_list ON image_requests.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND image_requests.deletion_id <> '' LIMIT $2 FOR UPDATE OF image_requests))$step$
            USING due.id, room;
        WHEN 53 THEN
          kind := 'refuse';
          target := 'image_requests';
          EXECUTE $step$SELECT FROM image_requests JOIN project_list ON image_requests.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND image_requests.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 54 THEN
          kind := 'note';
          target := 'image_requests';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT image_requests.deletion_id FROM image_requests JOIN project_list ON image_requests.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND image_requests.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 55 THEN
          kind := 'remove';
          target := 'image_requests';
          EXECUTE $step$DELETE FROM image_requests WHERE ctid = ANY (ARRAY(SELECT image_requests.ctid FROM image_requests JOIN project_list ON image_requests.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND image_requests.deletion_id <> '' LIMIT $2 FOR UPDATE OF image_requests))$step$
            USING due.id, room;
        WHEN 56 THEN
          kind := 'refuse';
          target := 'image_requests';
          EXECUTE $step$SELECT FROM image_requests JOIN project_list ON image_requests.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND image_requests.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 57 THEN
          kind := 'note';
          target := 'image_requests';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT image_requests.deletion_id FROM image_requests JOIN users ON image_requests.user_id = users.u_id WHERE users.deletion_id = $1 AND image_requests.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 58 THEN
          kind := 'remove';
          target := 'image_requests';
          EXECUTE $step$DELETE FROM image_requests WHERE ctid = ANY (ARRAY(SELECT image_requests.ctid FROM image_requests JOIN users ON image_requests.user_id = users.u_id WHERE users.deletion_id = $1 AND image_requests.deletion_id <> '' LIMIT $2 FOR UPDATE OF image_requests))$step$
            USING due.id, room;
        WHEN 59 THEN
          kind := 'refuse';
          target := 'image_requests';
          EXECUTE $step$SELECT FROM image_requests JOIN users ON image_requests.user_id = users.u_id WHERE users.deletion_id = $1 AND image_requests.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 60 THEN
          kind := 'remove';
          target := 'forms';
          EXECUTE $step$DELETE FROM forms WHERE ctid = ANY (ARRAY(SELECT forms.ctid FROM forms WHERE forms.deletion_id = $1 LIMIT $2 FOR UPDATE OF forms))$step$
            USING due.id, room;
        WHEN 61 THEN
          kind := 'note';
          target := 'forms';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT forms.deletion_id FROM forms JOIN project_list ON forms.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND forms.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 62 THEN
          kind := 'remove';
          target := 'forms';
          EXECUTE $step$DELETE FROM forms WHERE ctid = ANY (ARRAY(SELECT forms.ctid FROM forms JOIN project_list ON forms.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND forms.deletion_id <> '' LIMIT $2 FOR UPDATE OF forms))$step$
            USING due.id, room;
        WHEN 63 THEN
          kind := 'refuse';
          target := 'forms';
          EXECUTE $step$SELECT FROM forms JOIN project_list ON forms.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND forms.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 64 THEN
          kind := 'note';
          target := 'forms';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT forms.deletion_id FROM forms JOIN project_list ON forms.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND forms.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 65 THEN
          kind := 'remove';
          target := 'forms';
          EXECUTE $step$DELETE FROM forms WHERE ctid = ANY (ARRAY(SELECT forms.ctid FROM forms JOIN project_list ON forms.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND forms.deletion_id <> '' LIMIT $2 FOR UPDATE OF forms))$step$
            USING due.id, room;
        WHEN 66 THEN
          kind := 'refuse';
          target := 'forms';
          EXECUTE $step$SELECT FROM forms JOIN project_list ON forms.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND forms.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 67 THEN
          kind := 'note';
          target := 'forms';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT forms.deletion_id FROM forms JOIN users ON forms.user_id = users.u_id WHERE users.deletion_id = $1 AND forms.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 68 THEN
          kind := 'remove';
          target := 'forms';
          EXECUTE $step$DELETE FROM forms WHERE ctid = ANY (ARRAY(SELECT forms.ctid FROM forms JOIN users ON forms.user_id = users.u_id WHERE users.deletion_id = $1 AND forms.deletion_id <> '' LIMIT $2 FOR UPDATE OF forms))$step$
            USING due.id, room;
        WHEN 69 THEN
          kind := 'refuse';
          target := 'forms';
          EXECUTE $step$SELECT FROM forms JOIN users ON forms.user_id = users.u_id WHERE users.deletion_id = $1 AND forms.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 70 THEN
          kind := 'remove';
          target := 'course_workloads';
          EXECUTE $step$DELETE FROM course_workloads WHERE ctid = ANY (ARRAY(SELECT course_workloads.ctid FROM course_workloads WHERE course_workloads.deletion_id = $1 LIMIT $2 FOR UPDATE OF course_workloads))$step$
            USING due.id, room;
        WHEN 71 THEN
          kind := 'note';
          target := 'course_workloads';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT course_workloads.deletion_id FROM course_workloads JOIN project_list ON course_workloads.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND course_workloads.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 72 THEN
          kind := 'remove';
          target := 'course_workloads';
          EXECUTE $step$DELETE FROM course_workloads WHERE ctid = ANY (ARRAY(SELECT course_workloads.ctid FROM course_workloads JOIN project_list ON course_workloads.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND course_workloads.deletion_id <> '' LIMIT $2 FOR UPDATE OF course_workloads))$step$
            USING due.id, room;
        WHEN 73 THEN
          kind := 'refuse';
          target := 'course_workloads';
          EXECUTE $step$SELECT FROM course_workloads JOIN project_list ON course_workloads.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND course_workloads.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 74 THEN
          kind := 'note';
          target := 'course_workloads';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT course_workloads.deletion_id FROM course_workloads JOIN project_list ON course_workloads.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND course_workloads.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 75 THEN
          kind := 'remove';
          target := 'course_workloads';
          EXECUTE $step$DELETE FROM course_workloads WHERE ctid = ANY (ARRAY(SELECT course_workloads.ctid FROM course_workloads JOIN project_list ON course_workloads.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND course_workloads.deletion_id <> '' LIMIT $2 FOR UPDATE OF course_workloads))$step$
            USING due.id, room;
        WHEN 76 THEN
          kind := 'refuse';
          target := 'course_workloads';
          EXECUTE $step$SELECT FROM course_workloads JOIN project_list ON course_workloads.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND course_workloads.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 77 THEN
          kind := 'note';
          target := 'course_workloads';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT course_workloads.deletion_id FROM course_workloads JOIN users ON course_workloads.user_id = users.u_id WHERE users.deletion_id = $1 AND course_workloads.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 78 THEN
          kind := 'remove';
          target := 'course_workloads';
          EXECUTE $step$DELETE FROM course_workloads WHERE ctid = ANY (ARRAY(SELECT course_workloads.ctid FROM course_workloads JOIN users ON course_workloads.user_id = users.u_id WHERE users.deletion_id = $1 AND course_workloads.deletion_id <> '' LIMIT $2 FOR UPDATE OF course_workloads))$step$
            USING due.id, room;
        WHEN 79 THEN
          kind := 'refuse';
          target := 'course_workloads';
          EXECUTE $step$SELECT FROM course_workloads JOIN users ON course_workloads.user_id = users.u_id WHERE users.deletion_id = $1 AND course_workloads.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 80 THEN
          kind := 'remove';
          target := 'config_files';
          EXECUTE $step$DELETE FROM config_files WHERE ctid = ANY (ARRAY(SELECT config_files.ctid FROM config_files WHERE config_files.deletion_id = $1 LIMIT $2 FOR UPDATE OF config_files))$step$
            USING due.id, room;
        WHEN 81 THEN
          kind := 'note';
          target := 'config_files';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT config_files.deletion_id FROM config_files JOIN project_list ON config_files.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND config_files.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 82 THEN
          kind := 'remove';
          target := 'config_files';
          EXECUTE $step$DELETE FROM config_files WHERE ctid = ANY (ARRAY(SELECT config_files.ctid FROM config_files JOIN project_list ON config_files.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND config_files.deletion_id <> '' LIMIT $2 FOR UPDATE OF config_files))$step$
            USING due.id, room;
        WHEN 83 THEN
          kind := 'refuse';
          target := 'config_files';
          EXECUTE $step$SELECT FROM config_files JOIN project_list ON config_files.project_id = project_list.p_id WHERE project_list.deletion_id = $1 AND config_files.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 84 THEN
          kind := 'note';
          target := 'config_files';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT config_files.deletion_id FROM config_files JOIN project_list ON config_files.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND config_files.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 85 THEN
          kind := 'remove';
          target := 'config_files';
          EXECUTE $step$DELETE FROM config_files WHERE ctid = ANY (ARRAY(SELECT config_files.ctid FROM config_files JOIN project_list ON config_files.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND config_files.deletion_id <> '' LIMIT $2 FOR UPDATE OF config_files))$step$
            USING due.id, room;
        WHEN 86 THEN
          kind := 'refuse';
          target := 'config_files';
          EXECUTE $step$SELECT FROM config_files JOIN project_list ON config_files.project_id = project_list.p_id JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND config_files.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 87 THEN
          kind := 'remove';
          target := 'cluster_image_status';
          EXECUTE $step$DELETE FROM cluster_image_status WHERE ctid = ANY (ARRAY(SELECT cluster_image_status.ctid FROM cluster_image_status WHERE cluster_image_status.deletion_id = $1 LIMIT $2 FOR UPDATE OF cluster_image_status))$step$
            USING due.id, room;
        WHEN 88 THEN
          kind := 'note';
          target := 'cluster_image_status';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT cluster_image_status.deletion_id FROM cluster_image_status JOIN container_tags ON cluster_image_status.tag_id = container_tags.id WHERE container_tags.deletion_id = $1 AND cluster_image_status.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 89 THEN
          kind := 'remove';
          target := 'cluster_image_status';
          EXECUTE $step$DELETE FROM cluster_image_status WHERE ctid = ANY (ARRAY(SELECT cluster_image_status.ctid FROM cluster_image_status JOIN container_tags ON cluster_image_status.tag_id = container_tags.id WHERE container_tags.deletion_id = $1 AND cluster_image_status.deletion_id <> '' LIMIT $2 FOR UPDATE OF cluster_image_status))$step$
            USING due.id, room;
        WHEN 90 THEN
          kind := 'refuse';
          target := 'cluster_image_status';
          EXECUTE $step$SELECT FROM cluster_image_status JOIN container_tags ON cluster_image_status.tag_id = container_tags.id WHERE container_tags.deletion_id = $1 AND cluster_image_status.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 91 THEN
          kind := 'note';
          target := 'cluster_image_status';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT cluster_image_status.deletion_id FROM cluster_image_status JOIN container_tags ON cluster_image_status.tag_id = container_tags.id JOIN container_repositories ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND cluster_image_status.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 92 THEN
          kind := 'remove';
          target := 'cluster_image_status';
          EXECUTE $step$DELETE FROM cluster_image_status WHERE ctid = ANY (ARRAY(SELECT cluster_image_status.ctid FROM cluster_image_status JOIN container_tags ON cluster_image_status.tag_id = container_tags.id JOIN container_repositories ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND cluster_image_status.deletion_id <> '' LIMIT $2 FOR UPDATE OF cluster_image_status))$step$
            USING due.id, room;
        WHEN 93 THEN
          kind := 'refuse';
          target := 'cluster_image_status';
          EXECUTE $step$SELECT FROM cluster_image_status JOIN container_tags ON cluster_image_status.tag_id = container_tags.id JOIN container_repositories ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND cluster_image_status.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 94 THEN
          kind := 'remove';
          target := 'user_group';
          EXECUTE $step$DELETE FROM user_group WHERE ctid = ANY (ARRAY(SELECT user_group.ctid FROM user_group WHERE user_group.deletion_id = $1 LIMIT $2 FOR UPDATE OF user_group))$step$
            USING due.id, room;
        WHEN 95 THEN
          kind := 'note';
          target := 'user_group';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT user_group.deletion_id FROM user_group JOIN group_list ON user_group.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND user_group.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 96 THEN
          kind := 'remove';
          target := 'user_group';
          EXECUTE $step$DELETE FROM user_group WHERE ctid = ANY (ARRAY(SELECT user_group.ctid FROM user_group JOIN group_list ON user_group.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND user_group.deletion_id <> '' LIMIT $2 FOR UPDATE OF user_group))$step$
            USING due.id, room;
        WHEN 97 THEN
          kind := 'refuse';
          target := 'user_group';
          EXECUTE $step$SELECT FROM user_group JOIN group_list ON user_group.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND user_group.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 98 THEN
          kind := 'note';
          target := 'user_group';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT user_group.deletion_id FROM user_group JOIN users ON user_group.u_id = users.u_id WHERE users.deletion_id = $1 AND user_group.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 99 THEN
          kind := 'remove';
          target := 'user_group';
          EXECUTE $step$DELETE FROM user_group WHERE ctid = ANY (ARRAY(SELECT user_group.ctid FROM user_group JOIN users ON user_group.u_id = users.u_id WHERE users.deletion_id = $1 AND user_group.deletion_id <> '' LIMIT $2 FOR UPDATE OF user_group))$step$
            USING due.id, room;
        WHEN 100 THEN
          kind := 'refuse';
          target := 'user_group';
          EXECUTE $step$SELECT FROM user_group JOIN users ON user_group.u_id = users.u_id WHERE users.deletion_id = $1 AND user_group.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 101 THEN
          kind := 'remove';
          target := 'tokens';
          EXECUTE $step$DELETE FROM tokens WHERE ctid = ANY (ARRAY(SELECT tokens.ctid FROM tokens WHERE tokens.deletion_id = $1 LIMIT $2 FOR UPDATE OF tokens))$step$
            USING due.id, room;
        WHEN 102 THEN
          kind := 'note';
          target := 'tokens';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT tokens.deletion_id FROM tokens JOIN users ON tokens.user_id = users.u_id WHERE users.deletion_id = $1 AND tokens.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 103 THEN
          kind := 'remove';
          target := 'tokens';
          EXECUTE $step$DELETE FROM tokens WHERE ctid = ANY (ARRAY(SELECT tokens.ctid FROM tokens JOIN users ON tokens.user_id = users.u_id WHERE users.deletion_id = $1 AND tokens.deletion_id <> '' LIMIT $2 FOR UPDATE OF tokens))$step$
            USING due.id, room;
        WHEN 104 THEN
          kind := 'refuse';
          target := 'tokens';
          EXECUTE $step$SELECT FROM tokens JOIN users ON tokens.user_id = users.u_id WHERE users.deletion_id = $1 AND tokens.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 105 THEN
          kind := 'remove';
          target := 'project_list';
          EXECUTE $step$DELETE FROM project_list WHERE ctid = ANY (ARRAY(SELECT project_list.ctid FROM project_list WHERE project_list.deletion_id = $1 LIMIT $2 FOR UPDATE OF project_list))$step$
            USING due.id, room;
        WHEN 106 THEN
          kind := 'note';
          target := 'project_list';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT project_list.deletion_id FROM project_list JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND project_list.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 107 THEN
          kind := 'remove';
          target := 'project_list';
          EXECUTE $step$DELETE FROM project_list WHERE ctid = ANY (ARRAY(SELECT project_list.ctid FROM project_list JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND project_list.deletion_id <> '' LIMIT $2 FOR UPDATE OF project_list))$step$
            USING due.id, room;
        WHEN 108 THEN
          kind := 'refuse';
          target := 'project_list';
          EXECUTE $step$SELECT FROM project_list JOIN group_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = $1 AND project_list.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 109 THEN
          kind := 'remove';
          target := 'idempotency_keys';
          EXECUTE $step$DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT idempotency_keys.ctid FROM idempotency_keys JOIN users ON idempotency_keys.user_id = users.u_id WHERE users.deletion_id = $1 LIMIT $2 FOR UPDATE OF idempotency_keys))$step$
            USING due.id, room;
        WHEN 110 THEN
          kind := 'remove';
          target := 'container_tags';
          EXECUTE $step$DELETE FROM container_tags WHERE ctid = ANY (ARRAY(SELECT container_tags.ctid FROM container_tags WHERE container_tags.deletion_id = $1 LIMIT $2 FOR UPDATE OF container_tags))$step$
            USING due.id, room;
        WHEN 111 THEN
          kind := 'note';
          target := 'container_tags';
          EXECUTE $step$UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN (SELECT container_tags.deletion_id FROM container_tags JOIN container_repositories ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND container_tags.deletion_id NOT IN ('', $1))$step$
            USING due.id, room;
        WHEN 112 THEN
          kind := 'remove';
          target := 'container_tags';
          EXECUTE $step$DELETE FROM container_tags WHERE ctid = ANY (ARRAY(SELECT container_tags.ctid FROM container_tags JOIN container_repositories ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND container_tags.deletion_id <> '' LIMIT $2 FOR UPDATE OF container_tags))$step$
            USING due.id, room;
        WHEN 113 THEN
          kind := 'refuse';
          target := 'container_tags';
          EXECUTE $step$SELECT FROM container_tags JOIN container_repositories ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = $1 AND container_tags.deletion_id = '' LIMIT 1$step$
            USING due.id, room;
        WHEN 114 THEN
          kind := 'remove';
          target := 'audit_logs';
          EXECUTE $step$DELETE FROM audit_logs WHERE ctid = ANY (ARRAY(SELECT audit_logs.ctid FROM audit_logs JOIN users ON audit_logs.user_id = users.u_id WHERE users.deletion_id = $1 LIMIT $2 FOR UPDATE OF audit_logs))$step$
            USING due.id, room;
        WHEN 115 THEN
          kind := 'unlink';
          target := 'image_requests.reviewer_id';
          EXECUTE $step$UPDATE image_requests SET reviewer_id = NULL WHERE ctid = ANY (ARRAY(SELECT image_requests.ctid FROM image_requests JOIN users ON image_requests.reviewer_id = users.u_id WHERE users.deletion_id = $1 LIMIT $2 FOR UPDATE OF image_requests))$step$
            USING due.id, room;
        WHEN 116 THEN
          kind := 'remove';
          target := 'users';
          EXECUTE $step$DELETE FROM users WHERE ctid = ANY (ARRAY(SELECT users.ctid FROM users WHERE users.deletion_id = $1 LIMIT $2 FOR UPDATE OF users))$step$
            USING due.id, room;
        WHEN 117 THEN
          kind := 'remove';
          target := 'group_list';
          EXECUTE $step$DELETE FROM group_list WHERE ctid = ANY (ARRAY(SELECT group_list.ctid FROM group_list WHERE group_list.deletion_id = $1 LIMIT $2 FOR UPDATE OF group_list))$step$
            USING due.id, room;
        WHEN 118 THEN
          kind := 'remove';
          target := 'container_repositories';
          EXECUTE $step$DELETE FROM container_repositories WHERE ctid = ANY (ARRAY(SELECT container_repositories.ctid FROM container_repositories WHERE container_repositories.deletion_id = $1 LIMIT $2 FOR UPDATE OF container_repositories))$step$
            USING due.id, room;
        END CASE;
        GET DIAGNOSTICS changed = ROW_COUNT;
      EXCEPTION WHEN deadlock_detected OR lock_not_available OR serialization_failure THEN
        problem := SQLERRM;
      END;
      IF changed IS NULL THEN
        -- It met another transaction: the chunk begins again.
        ROLLBACK;
        conflicts := conflicts + 1;
        IF conflicts > most_conflicts THEN
          outcome := 'given up';
          EXIT;
        END IF;
        step := first_step;
        gone := gone_before;
        room := chunk_rows;
        CONTINUE;
      END IF;
      IF kind = 'refuse' AND changed > 0 THEN
        outcome := 'failed';
        problem := 'live rows of ' || target || ' hang on rows of this deletion';
        EXIT;
      END IF;
      IF kind IN ('remove', 'unlink') AND changed > 0 THEN
        gone := jsonb_set(gone, ARRAY[target], to_jsonb(coalesce((gone ->> target)::integer, 0) + changed));
        room := room - changed;
      END IF;
      IF room = 0 THEN
        COMMIT;
        first_step := step;
        gone_before := gone;
        room := chunk_rows;
      ELSE
        step := step + 1;
      END IF;
    END LOOP;
    IF outcome = 'purged' THEN
      problem := NULL;
    END IF;
    IF outcome = 'purged' AND (EXISTS (SELECT FROM container_repositories WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM group_list WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM users WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM container_tags WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM project_list WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM tokens WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM user_group WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM cluster_image_status WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM config_files WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM course_workloads WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM forms WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM image_requests WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM form_messages WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM image_allow_list WHERE deletion_id = due.id)
      OR EXISTS (SELECT FROM resources WHERE deletion_id = due.id)) THEN
      outcome := 'failed';
      problem := 'rows were added to this deletion while it was purged';
    END IF;
    IF outcome IN ('purged', 'failed') THEN
      -- Earlier deletions whose last rows went with this one can come back only with its bundle.
      UPDATE deletions n SET state = 'purged', updated_at = clock_timestamp()
       WHERE outcome = 'purged' AND n.purged_with = due.id AND n.state IN ('deleted', 'failed')
         AND NOT (EXISTS (SELECT FROM container_repositories WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM group_list WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM users WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM container_tags WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM project_list WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM tokens WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM user_group WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM cluster_image_status WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM config_files WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM course_workloads WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM forms WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM image_requests WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM form_messages WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM image_allow_list WHERE deletion_id = n.id)
      OR EXISTS (SELECT FROM resources WHERE deletion_id = n.id));
      UPDATE deletions n SET purged_with = NULL
       WHERE outcome = 'purged' AND n.purged_with = due.id AND n.state <> 'purged';
      UPDATE deletions
         SET state = outcome, failure = problem, lease_token = NULL, lease_until = NULL, updated_at = clock_timestamp()
       WHERE id = due.id;
      INSERT INTO audit_logs
        (user_id, actor_name, action, resource_type, resource_id, resource_label, new_data, description, created_at)
      VALUES
        (admin_id, 'holdfast', 'purge', due.root_type, due.root_id, due.root_label,
         jsonb_build_object('deletion_id', due.id, 'state', outcome, 'failure', problem, 'counts', gone,
                            'bundle_path', due.bundle_path, 'bundle_sha256', due.bundle_sha256),
         'cleanup_soft_deleted(' || days || ')', clock_timestamp());
    ELSIF outcome = 'given up' THEN
      UPDATE deletions SET lease_until = NULL WHERE id = due.id AND lease_token = holder;
    END IF;
    COMMIT;
    IF outcome = 'given up' THEN
      RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
        MESSAGE = 'deletion ' || due.id || ' met other transactions again and again; call once more',
        DETAIL = problem;
    END IF;
    purged := purged + (outcome = 'purged')::integer;
    failed := failed + (outcome = 'failed')::integer;
    SELECT jsonb_object_agg(key, n) INTO counts
      FROM (SELECT key, sum(value::integer) AS n
              FROM (SELECT * FROM jsonb_each_text(counts) UNION ALL SELECT * FROM jsonb_each_text(gone)) AS each_count
             GROUP BY key) AS added;
    counts := coalesce(counts, '{}');
  END LOOP;
  SELECT count(*) FILTER (WHERE d.state = 'deleted' AND d.bundle_verified_at IS NULL AND d.created_at < cutoff)
           AS unbundled,
         count(*) FILTER (WHERE d.state = 'purging') AS busy
    INTO waiting FROM deletions d WHERE d.state IN ('deleted', 'purging');
  report := json_build_object('purged', purged, 'failed', failed, 'without_bundle', waiting.unbundled,
                              'in_progress', waiting.busy, 'counts', counts);
END
$procedure$

CREATE PROCEDURE cleanup_audit_logs(days numeric, INOUT report json DEFAULT NULL)
LANGUAGE plpgsql AS $procedure$
-- Removes the entries of the audit log older than `days` days that stand in a verified archive; nothing else.
DECLARE
  chunk_rows CONSTANT integer := 500;
  most_conflicts CONSTANT integer := 20;
  lock_number CONSTANT bigint := 7305802112;
  cutoff timestamptz;
  admin_id text;
  archive record;
  last_seen timestamptz := '-infinity';
  last_archive text := '';
  next_id bigint;
  up_to bigint;
  changed integer;
  here integer;
  is_done boolean;
  removed integer := 0;
  conflicts integer := 0;
  kept bigint;
BEGIN
  -- numeric, so that a number of any size is refused with this sentence.
  IF days IS NULL OR days < 1 OR days > 36500 OR days <> trunc(days) THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
      MESSAGE = 'cleanup_audit_logs takes a number of days, from 1 to 36500';
  END IF;
  CALL cleanup_must_be_called_outside_of_a_transaction();
  IF NOT pg_try_advisory_xact_lock(lock_number) THEN
    RAISE EXCEPTION USING ERRCODE = 'object_in_use', MESSAGE = 'another cleanup_audit_logs is running';
  END IF;
  SELECT u_id INTO admin_id FROM users WHERE username = 'admin' AND deletion_id = '';
  IF admin_id IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'no_data_found',
      MESSAGE = 'there is no user admin, in whose name the audit log would show the removal';
  END IF;
  cutoff := clock_timestamp() - make_interval(days => days::integer);
  LOOP
    SELECT a.id, a.first_id, a.last_id, a.created_at, least(a.made_before, cutoff) AS older_than,
           a.made_before <= cutoff AS whole
      INTO archive
      FROM audit_archives a
     WHERE a.bundle_verified_at IS NOT NULL AND a.removed_at IS NULL
       AND (a.created_at, a.id) > (last_seen, last_archive)
     ORDER BY a.created_at, a.id LIMIT 1;
    EXIT WHEN NOT FOUND;
    last_seen := archive.created_at;
    last_archive := archive.id;
    next_id := archive.first_id;
    here := 0;
    LOOP
      COMMIT;
      PERFORM pg_advisory_xact_lock(lock_number);
      -- The row of the archive is the lock that other callers, on other nodes too, wait for.
      PERFORM 1 FROM audit_archives a WHERE a.id = archive.id AND a.removed_at IS NULL FOR UPDATE;
      EXIT WHEN NOT FOUND;
      IF here = 0 AND (SELECT count(*) FROM audit_logs l
                        WHERE l.id BETWEEN archive.first_id AND archive.last_id AND l.created_at <
                          (SELECT made_before FROM audit_archives WHERE id = archive.id))
                    > (SELECT row_count - removed_rows FROM audit_archives WHERE id = archive.id) THEN
        -- Entries came back with the recovery of a user: they are not in this archive and wait for the next one.
        UPDATE audit_archives SET removed_at = clock_timestamp(), updated_at = clock_timestamp()
         WHERE id = archive.id;
        EXIT;
      END IF;
      SELECT max(id) INTO up_to
        FROM (SELECT l.id FROM audit_logs l
               WHERE l.id BETWEEN next_id AND archive.last_id AND l.created_at < archive.older_than
               ORDER BY l.id LIMIT chunk_rows) AS chunk;
      changed := NULL;
      BEGIN
        DELETE FROM audit_logs WHERE id BETWEEN next_id AND up_to AND created_at < archive.older_than;
        GET DIAGNOSTICS changed = ROW_COUNT;
      EXCEPTION WHEN deadlock_detected OR lock_not_available OR serialization_failure THEN
        changed := NULL;
      END;
      IF changed IS NULL THEN
        ROLLBACK;
        conflicts := conflicts + 1;
        IF conflicts > most_conflicts THEN
          RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
            MESSAGE = 'the audit log met other transactions again and again; call once more';
        END IF;
        CONTINUE;
      END IF;
      here := here + changed;
      removed := removed + changed;
      next_id := coalesce(up_to + 1, archive.last_id + 1);
      is_done := NOT EXISTS (SELECT FROM audit_logs l
                              WHERE l.id BETWEEN next_id AND archive.last_id AND l.created_at < archive.older_than);
      UPDATE audit_archives
         SET removed_rows = removed_rows + changed, updated_at = clock_timestamp(),
             removed_at = CASE WHEN is_done AND archive.whole THEN clock_timestamp() END
       WHERE id = archive.id;
      IF is_done AND here > 0 THEN
        INSERT INTO audit_logs
          (user_id, actor_name, action, resource_type, resource_id, resource_label, new_data, description, created_at)
        SELECT admin_id, 'holdfast', 'purge', 'audit-log', a.id, a.id,
               jsonb_build_object('counts', jsonb_build_object('audit_logs', a.removed_rows),
                                  'made_before', archive.older_than, 'bundle_path', a.bundle_path),
               'cleanup_audit_logs(' || days || ')', clock_timestamp()
          FROM audit_archives a WHERE a.id = archive.id;
      END IF;
      EXIT WHEN is_done;
    END LOOP;
  END LOOP;
  COMMIT;
  SELECT count(*) INTO kept FROM audit_logs WHERE created_at < cutoff;
  report := json_build_object('counts', json_build_object('audit_logs', removed), 'without_archive', kept);
END
$procedure$
