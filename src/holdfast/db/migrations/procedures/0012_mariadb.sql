CREATE PROCEDURE cleanup_soft_deleted(IN days DECIMAL(65, 0))
MODIFIES SQL DATA SQL SECURITY INVOKER
COMMENT 'Purges the deletions older than so many days whose recovery bundle is verified'
cleanup: BEGIN
  -- Written from the foreign keys of the tables: make changes in a migration, never here.
  DECLARE chunk_rows INT DEFAULT 500;
  DECLARE most_conflicts INT DEFAULT 20;
  DECLARE lease_seconds INT DEFAULT 120;
  DECLARE last_step INT DEFAULT 118;
  DECLARE holder VARCHAR(21) CHARACTER SET ascii COLLATE ascii_nopad_bin
    DEFAULT CONCAT('call-', SUBSTR(MD5(CONCAT(UUID(), RAND())), 1, 16));
  DECLARE isolation_before VARCHAR(30) DEFAULT @@SESSION.tx_isolation;
  DECLARE cutoff DATETIME(6);
  DECLARE admin_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_nopad_bin;
  DECLARE due_id VARCHAR(21) CHARACTER SET ascii COLLATE ascii_nopad_bin;
  DECLARE due_type VARCHAR(50) CHARACTER SET ascii COLLATE ascii_nopad_bin;
  DECLARE due_root, due_label VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
  DECLARE due_state VARCHAR(20) CHARACTER SET ascii COLLATE ascii_nopad_bin;
  DECLARE due_path TEXT CHARACTER SET utf8mb4;
  DECLARE due_sha256 VARCHAR(64) CHARACTER SET ascii COLLATE ascii_nopad_bin;
  DECLARE due_bundled DATETIME(6);
  DECLARE busy_turns INT DEFAULT 0;
  DECLARE step, first_step, room, changed, conflicts INT DEFAULT 0;
  DECLARE kind, outcome VARCHAR(20);
  DECLARE target, place VARCHAR(140);
  DECLARE problem TEXT;
  DECLARE gone, gone_before LONGTEXT;
  DECLARE counts LONGTEXT DEFAULT '{}';
  DECLARE targets LONGTEXT;
  DECLARE nth, how_many INT DEFAULT 0;
  DECLARE purged, failed, unbundled, busy INT DEFAULT 0;

  -- DECIMAL, so that a number of any size is refused with this sentence.
  IF days IS NULL OR days < 0 OR days > 36500 THEN
    SIGNAL SQLSTATE '22023' SET MESSAGE_TEXT = 'cleanup_soft_deleted takes a number of days, from 0 to 36500';
  END IF;
  IF @@in_transaction THEN
    SIGNAL SQLSTATE '25001'
      SET MESSAGE_TEXT = 'cleanup_soft_deleted commits as it goes: call it outside of a transaction';
  END IF;
  SELECT u_id INTO admin_id FROM users WHERE username = 'admin' AND deletion_id = '';
  IF admin_id IS NULL THEN
    SIGNAL SQLSTATE '02000'
      SET MESSAGE_TEXT = 'there is no user admin, in whose name the audit log would show the purge';
  END IF;
  SET SESSION tx_isolation = 'READ-COMMITTED';
  SET cutoff = UTC_TIMESTAMP(6) - INTERVAL days DAY;

  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN
      ROLLBACK;
      UPDATE deletions SET lease_until = NULL WHERE id = due_id AND lease_token = holder;
      COMMIT;
      SET SESSION tx_isolation = isolation_before;
      RESIGNAL;
    END;

    deletions_due: LOOP
      SET due_id = NULL, outcome = NULL;
      claim: BEGIN
        DECLARE EXIT HANDLER FOR 1020, 1205, 1213 BEGIN
          ROLLBACK;
          SET outcome = 'busy';
        END;
        START TRANSACTION;
        -- Deletions may overlap, so one is purged at a time.
        IF EXISTS (SELECT 1 FROM deletions WHERE state = 'purging' AND lease_until > UTC_TIMESTAMP(6)) THEN
          COMMIT;
          LEAVE claim;
        END IF;
        SELECT id, root_type, root_id, root_label, state, bundle_path, bundle_sha256, bundle_verified_at
          INTO due_id, due_type, due_root, due_label, due_state, due_path, due_sha256, due_bundled
          FROM deletions
         WHERE created_at < cutoff AND bundle_verified_at IS NOT NULL AND state IN ('deleted', 'purging')
         ORDER BY state = 'purging' DESC, created_at, id LIMIT 1
           FOR UPDATE SKIP LOCKED;
        IF due_state = 'deleted' AND (EXISTS (SELECT 1 FROM users STRAIGHT_JOIN audit_logs ON audit_logs.user_id = users.u_id WHERE users.deletion_id = due_id AND audit_logs.created_at >= due_bundled)) THEN
          -- Its bundle lacks what came after it; it waits for another.
          UPDATE deletions
             SET bundle_path = NULL, bundle_sha256 = NULL, bundle_verified_at = NULL, updated_at = UTC_TIMESTAMP(6)
           WHERE id = due_id;
          SET outcome = 'out of date';
        ELSE
          UPDATE deletions
             SET state = 'purging', lease_token = holder, updated_at = UTC_TIMESTAMP(6),
                 lease_until = UTC_TIMESTAMP(6) + INTERVAL lease_seconds SECOND
           WHERE id = due_id;
        END IF;
        COMMIT;
        IF outcome IS NULL AND EXISTS (SELECT 1 FROM deletions WHERE state = 'purging' AND id <> due_id) THEN
          -- Another took one at the same moment, and sees this one in its turn: both step back.
          UPDATE deletions SET state = due_state, lease_token = NULL, lease_until = UTC_TIMESTAMP(6)
           WHERE id = due_id AND lease_token = holder;
          COMMIT;
          SET outcome = 'busy';
        END IF;
      END claim;
      IF due_id IS NULL AND outcome IS NULL OR busy_turns > 3 THEN
        LEAVE deletions_due;
      END IF;
      IF outcome = 'busy' THEN
        -- Not all at the same moment again.
        SET busy_turns = busy_turns + 1, changed = SLEEP(RAND() / 2);
      END IF;
      IF outcome IS NOT NULL THEN
        ITERATE deletions_due;
      END IF;
      SET busy_turns = 0;
      SET step = 1, first_step = 1, conflicts = 0, problem = NULL, gone = '{}', gone_before = '{}';

      chunks: LOOP
        chunk: BEGIN
          DECLARE EXIT HANDLER FOR 1020, 1205, 1213 BEGIN
            -- It met another transaction: the chunk begins again.
            GET DIAGNOSTICS CONDITION 1 problem = MESSAGE_TEXT;
            ROLLBACK;
            SET conflicts = conflicts + 1, step = first_step, gone = gone_before;
            SET outcome = IF(conflicts > most_conflicts, 'given up', NULL);
          END;
          SET room = chunk_rows;
          START TRANSACTION;
          -- The first statement of each chunk: nothing may go once another holds the deletion.
          UPDATE deletions SET lease_until = UTC_TIMESTAMP(6) + INTERVAL lease_seconds SECOND
           WHERE id = due_id AND state = 'purging' AND lease_token = holder;
          IF NOT EXISTS (SELECT 1 FROM deletions WHERE id = due_id AND state = 'purging' AND lease_token = holder) THEN
            SET outcome = 'taken over';
          END IF;
          WHILE outcome IS NULL AND room > 0 AND step <= last_step DO
            CASE step
            WHEN 1 THEN
              SET kind = 'remove', target = 'resources';
              DELETE FROM resources WHERE deletion_id = due_id ORDER BY r_id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 2 THEN
              SET kind = 'note', target = 'resources';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM config_files STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id WHERE config_files.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT resources.deletion_id AS id FROM config_files STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id WHERE config_files.deletion_id = due_id
                  AND resources.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 3 THEN
              SET kind = 'remove', target = 'resources';
              DELETE resources FROM resources JOIN (SELECT resources.r_id FROM config_files STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id
                WHERE config_files.deletion_id = due_id AND resources.deletion_id <> '' LIMIT room) AS chosen ON chosen.r_id = resources.r_id;
              SET changed = ROW_COUNT();
            WHEN 4 THEN
              SET kind = 'refuse', target = 'resources';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM config_files STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id WHERE config_files.deletion_id = due_id AND resources.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 5 THEN
              SET kind = 'note', target = 'resources';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM project_list STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id WHERE project_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT resources.deletion_id AS id FROM project_list STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id WHERE project_list.deletion_id = due_id
                  AND resources.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 6 THEN
              SET kind = 'remove', target = 'resources';
              DELETE resources FROM resources JOIN (SELECT resources.r_id FROM project_list STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id
                WHERE project_list.deletion_id = due_id AND resources.deletion_id <> '' LIMIT room) AS chosen ON chosen.r_id = resources.r_id;
              SET changed = ROW_COUNT();
            WHEN 7 THEN
              SET kind = 'refuse', target = 'resources';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM project_list STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id WHERE project_list.deletion_id = due_id AND resources.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 8 THEN
              SET kind = 'note', target = 'resources';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id WHERE group_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT resources.deletion_id AS id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id WHERE group_list.deletion_id = due_id
                  AND resources.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 9 THEN
              SET kind = 'remove', target = 'resources';
              DELETE resources FROM resources JOIN (SELECT resources.r_id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id
                WHERE group_list.deletion_id = due_id AND resources.deletion_id <> '' LIMIT room) AS chosen ON chosen.r_id = resources.r_id;
              SET changed = ROW_COUNT();
            WHEN 10 THEN
              SET kind = 'refuse', target = 'resources';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id STRAIGHT_JOIN resources ON resources.cf_id = config_files.cf_id WHERE group_list.deletion_id = due_id AND resources.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 11 THEN
              SET kind = 'remove', target = 'image_allow_list';
              DELETE FROM image_allow_list WHERE deletion_id = due_id ORDER BY id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 12 THEN
              SET kind = 'note', target = 'image_allow_list';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM users STRAIGHT_JOIN image_allow_list ON image_allow_list.created_by = users.u_id WHERE users.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT image_allow_list.deletion_id AS id FROM users STRAIGHT_JOIN image_allow_list ON image_allow_list.created_by = users.u_id WHERE users.deletion_id = due_id
                  AND image_allow_list.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 13 THEN
              SET kind = 'remove', target = 'image_allow_list';
              DELETE image_allow_list FROM image_allow_list JOIN (SELECT image_allow_list.id FROM users STRAIGHT_JOIN image_allow_list ON image_allow_list.created_by = users.u_id
                WHERE users.deletion_id = due_id AND image_allow_list.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = image_allow_list.id;
              SET changed = ROW_COUNT();
            WHEN 14 THEN
              SET kind = 'refuse', target = 'image_allow_list';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM users STRAIGHT_JOIN image_allow_list ON image_allow_list.created_by = users.u_id WHERE users.deletion_id = due_id AND image_allow_list.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 15 THEN
              SET kind = 'note', target = 'image_allow_list';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM project_list STRAIGHT_JOIN image_allow_list ON image_allow_list.project_id = project_list.p_id WHERE project_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT image_allow_list.deletion_id AS id FROM project_list STRAIGHT_JOIN image_allow_list ON image_allow_list.project_id = project_list.p_id WHERE project_list.deletion_id = due_id
                  AND image_allow_list.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 16 THEN
              SET kind = 'remove', target = 'image_allow_list';
              DELETE image_allow_list FROM image_allow_list JOIN (SELECT image_allow_list.id FROM project_list STRAIGHT_JOIN image_allow_list ON image_allow_list.project_id = project_list.p_id
                WHERE project_list.deletion_id = due_id AND image_allow_list.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = image_allow_list.id;
              SET changed = ROW_COUNT();
            WHEN 17 THEN
              SET kind = 'refuse', target = 'image_allow_list';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM project_list STRAIGHT_JOIN image_allow_list ON image_allow_list.project_id = project_list.p_id WHERE project_list.deletion_id = due_id AND image_allow_list.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 18 THEN
              SET kind = 'note', target = 'image_allow_list';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN image_allow_list ON image_allow_list.project_id = project_list.p_id WHERE group_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT image_allow_list.deletion_id AS id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN image_allow_list ON image_allow_list.project_id = project_list.p_id WHERE group_list.deletion_id = due_id
                  AND image_allow_list.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 19 THEN
              SET kind = 'remove', target = 'image_allow_list';
              DELETE image_allow_list FROM image_allow_list JOIN (SELECT image_allow_list.id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN image_allow_list ON image_allow_list.project_id = project_list.p_id
                WHERE group_list.deletion_id = due_id AND image_allow_list.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = image_allow_list.id;
              SET changed = ROW_COUNT();
            WHEN 20 THEN
              SET kind = 'refuse', target = 'image_allow_list';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN image_allow_list ON image_allow_list.project_id = project_list.p_id WHERE group_list.deletion_id = due_id AND image_allow_list.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 21 THEN
              SET kind = 'note', target = 'image_allow_list';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM container_repositories STRAIGHT_JOIN image_allow_list ON image_allow_list.repository_id = container_repositories.id WHERE container_repositories.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT image_allow_list.deletion_id AS id FROM container_repositories STRAIGHT_JOIN image_allow_list ON image_allow_list.repository_id = container_repositories.id WHERE container_repositories.deletion_id = due_id
                  AND image_allow_list.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 22 THEN
              SET kind = 'remove', target = 'image_allow_list';
              DELETE image_allow_list FROM image_allow_list JOIN (SELECT image_allow_list.id FROM container_repositories STRAIGHT_JOIN image_allow_list ON image_allow_list.repository_id = container_repositories.id
                WHERE container_repositories.deletion_id = due_id AND image_allow_list.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = image_allow_list.id;
              SET changed = ROW_COUNT();
            WHEN 23 THEN
              SET kind = 'refuse', target = 'image_allow_list';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM container_repositories STRAIGHT_JOIN image_allow_list ON image_allow_list.repository_id = container_repositories.id WHERE container_repositories.deletion_id = due_id AND image_allow_list.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 24 THEN
              SET kind = 'note', target = 'image_allow_list';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM container_tags STRAIGHT_JOIN image_allow_list ON image_allow_list.tag_id = container_tags.id WHERE container_tags.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT image_allow_list.deletion_id AS id FROM container_tags STRAIGHT_JOIN image_allow_list ON image_allow_list.tag_id = container_tags.id WHERE container_tags.deletion_id = due_id
                  AND image_allow_list.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 25 THEN
              SET kind = 'remove', target = 'image_allow_list';
              DELETE image_allow_list FROM image_allow_list JOIN (SELECT image_allow_list.id FROM container_tags STRAIGHT_JOIN image_allow_list ON image_allow_list.tag_id = container_tags.id
                WHERE container_tags.deletion_id = due_id AND image_allow_list.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = image_allow_list.id;
              SET changed = ROW_COUNT();
            WHEN 26 THEN
              SET kind = 'refuse', target = 'image_allow_list';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM container_tags STRAIGHT_JOIN image_allow_list ON image_allow_list.tag_id = container_tags.id WHERE container_tags.deletion_id = due_id AND image_allow_list.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 27 THEN
              SET kind = 'note', target = 'image_allow_list';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id STRAIGHT_JOIN image_allow_list ON image_allow_list.tag_id = container_tags.id WHERE container_repositories.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT image_allow_list.deletion_id AS id FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id STRAIGHT_JOIN image_allow_list ON image_allow_list.tag_id = container_tags.id WHERE container_repositories.deletion_id = due_id
                  AND image_allow_list.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 28 THEN
              SET kind = 'remove', target = 'image_allow_list';
              DELETE image_allow_list FROM image_allow_list JOIN (SELECT image_allow_list.id FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id STRAIGHT_JOIN image_allow_list ON image_allow_list.tag_id = container_tags.id
                WHERE container_repositories.deletion_id = due_id AND image_allow_list.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = image_allow_list.id;
              SET changed = ROW_COUNT();
            WHEN 29 THEN
              SET kind = 'refuse', target = 'image_allow_list';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id STRAIGHT_JOIN image_allow_list ON image_allow_list.tag_id = container_tags.id WHERE container_repositories.deletion_id = due_id AND image_allow_list.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 30 THEN
              SET kind = 'remove', target = 'form_messages';
              DELETE FROM form_messages WHERE deletion_id = due_id ORDER BY id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 31 THEN
              SET kind = 'note', target = 'form_messages';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM forms STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE forms.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT form_messages.deletion_id AS id FROM forms STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE forms.deletion_id = due_id
                  AND form_messages.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 32 THEN
              SET kind = 'remove', target = 'form_messages';
              DELETE form_messages FROM form_messages JOIN (SELECT form_messages.id FROM forms STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id
                WHERE forms.deletion_id = due_id AND form_messages.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = form_messages.id;
              SET changed = ROW_COUNT();
            WHEN 33 THEN
              SET kind = 'refuse', target = 'form_messages';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM forms STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE forms.deletion_id = due_id AND form_messages.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 34 THEN
              SET kind = 'note', target = 'form_messages';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM project_list STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE project_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT form_messages.deletion_id AS id FROM project_list STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE project_list.deletion_id = due_id
                  AND form_messages.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 35 THEN
              SET kind = 'remove', target = 'form_messages';
              DELETE form_messages FROM form_messages JOIN (SELECT form_messages.id FROM project_list STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id
                WHERE project_list.deletion_id = due_id AND form_messages.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = form_messages.id;
              SET changed = ROW_COUNT();
            WHEN 36 THEN
              SET kind = 'refuse', target = 'form_messages';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM project_list STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE project_list.deletion_id = due_id AND form_messages.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 37 THEN
              SET kind = 'note', target = 'form_messages';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE group_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT form_messages.deletion_id AS id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE group_list.deletion_id = due_id
                  AND form_messages.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 38 THEN
              SET kind = 'remove', target = 'form_messages';
              DELETE form_messages FROM form_messages JOIN (SELECT form_messages.id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id
                WHERE group_list.deletion_id = due_id AND form_messages.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = form_messages.id;
              SET changed = ROW_COUNT();
            WHEN 39 THEN
              SET kind = 'refuse', target = 'form_messages';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE group_list.deletion_id = due_id AND form_messages.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 40 THEN
              SET kind = 'note', target = 'form_messages';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM users STRAIGHT_JOIN forms ON forms.user_id = users.u_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE users.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT form_messages.deletion_id AS id FROM users STRAIGHT_JOIN forms ON forms.user_id = users.u_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE users.deletion_id = due_id
                  AND form_messages.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 41 THEN
              SET kind = 'remove', target = 'form_messages';
              DELETE form_messages FROM form_messages JOIN (SELECT form_messages.id FROM users STRAIGHT_JOIN forms ON forms.user_id = users.u_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id
                WHERE users.deletion_id = due_id AND form_messages.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = form_messages.id;
              SET changed = ROW_COUNT();
            WHEN 42 THEN
              SET kind = 'refuse', target = 'form_messages';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM users STRAIGHT_JOIN forms ON forms.user_id = users.u_id STRAIGHT_JOIN form_messages ON form_messages.form_id = forms.id WHERE users.deletion_id = due_id AND form_messages.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 43 THEN
              SET kind = 'note', target = 'form_messages';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM users STRAIGHT_JOIN form_messages ON form_messages.user_id = users.u_id WHERE users.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT form_messages.deletion_id AS id FROM users STRAIGHT_JOIN form_messages ON form_messages.user_id = users.u_id WHERE users.deletion_id = due_id
                  AND form_messages.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 44 THEN
              SET kind = 'remove', target = 'form_messages';
              DELETE form_messages FROM form_messages JOIN (SELECT form_messages.id FROM users STRAIGHT_JOIN form_messages ON form_messages.user_id = users.u_id
                WHERE users.deletion_id = due_id AND form_messages.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = form_messages.id;
              SET changed = ROW_COUNT();
            WHEN 45 THEN
              SET kind = 'refuse', target = 'form_messages';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM users STRAIGHT_JOIN form_messages ON form_messages.user_id = users.u_id WHERE users.deletion_id = due_id AND form_messages.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 46 THEN
              SET kind = 'unlink', target = 'image_allow_list.request_id';
              UPDATE image_allow_list JOIN (SELECT image_allow_list.id FROM image_requests STRAIGHT_JOIN image_allow_list ON image_allow_list.request_id = image_requests.id
                WHERE image_requests.deletion_id = due_id LIMIT room) AS chosen ON chosen.id = image_allow_list.id SET image_allow_list.request_id = NULL;
              SET changed = ROW_COUNT();
            WHEN 47 THEN
              SET kind = 'unlink', target = 'image_allow_list.request_id';
              UPDATE image_allow_list JOIN (SELECT image_allow_list.id FROM project_list STRAIGHT_JOIN image_requests ON image_requests.project_id = project_list.p_id STRAIGHT_JOIN image_allow_list ON image_allow_list.request_id = image_requests.id
                WHERE project_list.deletion_id = due_id LIMIT room) AS chosen ON chosen.id = image_allow_list.id SET image_allow_list.request_id = NULL;
              SET changed = ROW_COUNT();
            WHEN 48 THEN
              SET kind = 'unlink', target = 'image_allow_list.request_id';
              UPDATE image_allow_list JOIN (SELECT image_allow_list.id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN image_requests ON image_requests.project_id = project_list.p_id STRAIGHT_JOIN image_allow_list ON image_allow_list.request_id = image_requests.id
                WHERE group_list.deletion_id = due_id LIMIT room) AS chosen ON chosen.id = image_allow_list.id SET image_allow_list.request_id = NULL;
              SET changed = ROW_COUNT();
            WHEN 49 THEN
              SET kind = 'unlink', target = 'image_allow_list.request_id';
              UPDATE image_allow_list JOIN (SELECT image_allow_list.id FROM users STRAIGHT_JOIN image_requests ON image_requests.user_id = users.u_id STRAIGHT_JOIN image_allow_list ON image_allow_list.request_id = image_requests.id
                WHERE users.deletion_id = due_id LIMIT room) AS chosen ON chosen.id = image_allow_list.id SET image_allow_list.request_id = NULL;
              SET changed = ROW_COUNT();
            WHEN 50 THEN
              SET kind = 'remove', target = 'image_requests';
              DELETE FROM image_requests WHERE deletion_id = due_id ORDER BY id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 51 THEN
              SET kind = 'note', target = 'image_requests';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM project_list STRAIGHT_JOIN image_requests ON image_requests.project_id = project_list.p_id WHERE project_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT image_requests.deletion_id AS id FROM project_list STRAIGHT_JOIN image_requests ON image_requests.project_id = project_list.p_id WHERE project_list.deletion_id = due_id
                  AND image_requests.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 52 THEN
              SET kind = 'remove', target = 'image_requests';
              DELETE image_requests FROM image_requests JOIN (SELECT image_requests.id FROM project_list STRAIGHT_JOIN image_requests ON image_requests.project_id = project_list.p_id
                WHERE project_list.deletion_id = due_id AND image_requests.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = image_requests.id;
              SET changed = ROW_COUNT();
            WHEN 53 THEN
              SET kind = 'refuse', target = 'image_requests';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM project_list STRAIGHT_JOIN image_requests ON image_requests.project_id = project_list.p_id WHERE project_list.deletion_id = due_id AND image_requests.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 54 THEN
              SET kind = 'note', target = 'image_requests';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN image_requests ON image_requests.project_id = project_list.p_id WHERE group_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT image_requests.deletion_id AS id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN image_requests ON image_requests.project_id = project_list.p_id WHERE group_list.deletion_id = due_id
                  AND image_requests.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 55 THEN
              SET kind = 'remove', target = 'image_requests';
              DELETE image_requests FROM image_requests JOIN (SELECT image_requests.id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN image_requests ON image_requests.project_id = project_list.p_id
                WHERE group_list.deletion_id = due_id AND image_requests.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = image_requests.id;
              SET changed = ROW_COUNT();
            WHEN 56 THEN
              SET kind = 'refuse', target = 'image_requests';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN image_requests ON image_requests.project_id = project_list.p_id WHERE group_list.deletion_id = due_id AND image_requests.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 57 THEN
              SET kind = 'note', target = 'image_requests';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM users STRAIGHT_JOIN image_requests ON image_requests.user_id = users.u_id WHERE users.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT image_requests.deletion_id AS id FROM users STRAIGHT_JOIN image_requests ON image_requests.user_id = users.u_id WHERE users.deletion_id = due_id
                  AND image_requests.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 58 THEN
              SET kind = 'remove', target = 'image_requests';
              DELETE image_requests FROM image_requests JOIN (SELECT image_requests.id FROM users STRAIGHT_JOIN image_requests ON image_requests.user_id = users.u_id
                WHERE users.deletion_id = due_id AND image_requests.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = image_requests.id;
              SET changed = ROW_COUNT();
            WHEN 59 THEN
              SET kind = 'refuse', target = 'image_requests';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM users STRAIGHT_JOIN image_requests ON image_requests.user_id = users.u_id WHERE users.deletion_id = due_id AND image_requests.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 60 THEN
              SET kind = 'remove', target = 'forms';
              DELETE FROM forms WHERE deletion_id = due_id ORDER BY id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 61 THEN
              SET kind = 'note', target = 'forms';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM project_list STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id WHERE project_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT forms.deletion_id AS id FROM project_list STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id WHERE project_list.deletion_id = due_id
                  AND forms.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 62 THEN
              SET kind = 'remove', target = 'forms';
              DELETE forms FROM forms JOIN (SELECT forms.id FROM project_list STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id
                WHERE project_list.deletion_id = due_id AND forms.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = forms.id;
              SET changed = ROW_COUNT();
            WHEN 63 THEN
              SET kind = 'refuse', target = 'forms';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM project_list STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id WHERE project_list.deletion_id = due_id AND forms.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 64 THEN
              SET kind = 'note', target = 'forms';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id WHERE group_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT forms.deletion_id AS id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id WHERE group_list.deletion_id = due_id
                  AND forms.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 65 THEN
              SET kind = 'remove', target = 'forms';
              DELETE forms FROM forms JOIN (SELECT forms.id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id
                WHERE group_list.deletion_id = due_id AND forms.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = forms.id;
              SET changed = ROW_COUNT();
            WHEN 66 THEN
              SET kind = 'refuse', target = 'forms';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN forms ON forms.project_id = project_list.p_id WHERE group_list.deletion_id = due_id AND forms.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 67 THEN
              SET kind = 'note', target = 'forms';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM users STRAIGHT_JOIN forms ON forms.user_id = users.u_id WHERE users.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT forms.deletion_id AS id FROM users STRAIGHT_JOIN forms ON forms.user_id = users.u_id WHERE users.deletion_id = due_id
                  AND forms.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 68 THEN
              SET kind = 'remove', target = 'forms';
              DELETE forms FROM forms JOIN (SELECT forms.id FROM users STRAIGHT_JOIN forms ON forms.user_id = users.u_id
                WHERE users.deletion_id = due_id AND forms.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = forms.id;
              SET changed = ROW_COUNT();
            WHEN 69 THEN
              SET kind = 'refuse', target = 'forms';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM users STRAIGHT_JOIN forms ON forms.user_id = users.u_id WHERE users.deletion_id = due_id AND forms.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 70 THEN
              SET kind = 'remove', target = 'course_workloads';
              DELETE FROM course_workloads WHERE deletion_id = due_id ORDER BY id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 71 THEN
              SET kind = 'note', target = 'course_workloads';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM project_list STRAIGHT_JOIN course_workloads ON course_workloads.project_id = project_list.p_id WHERE project_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT course_workloads.deletion_id AS id FROM project_list STRAIGHT_JOIN course_workloads ON course_workloads.project_id = project_list.p_id WHERE project_list.deletion_id = due_id
                  AND course_workloads.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 72 THEN
              SET kind = 'remove', target = 'course_workloads';
              DELETE course_workloads FROM course_workloads JOIN (SELECT course_workloads.id FROM project_list STRAIGHT_JOIN course_workloads ON course_workloads.project_id = project_list.p_id
                WHERE project_list.deletion_id = due_id AND course_workloads.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = course_workloads.id;
              SET changed = ROW_COUNT();
            WHEN 73 THEN
              SET kind = 'refuse', target = 'course_workloads';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM project_list STRAIGHT_JOIN course_workloads ON course_workloads.project_id = project_list.p_id WHERE project_list.deletion_id = due_id AND course_workloads.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 74 THEN
              SET kind = 'note', target = 'course_workloads';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN course_workloads ON course_workloads.project_id = project_list.p_id WHERE group_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT course_workloads.deletion_id AS id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN course_workloads ON course_workloads.project_id = project_list.p_id WHERE group_list.deletion_id = due_id
                  AND course_workloads.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 75 THEN
              SET kind = 'remove', target = 'course_workloads';
              DELETE course_workloads FROM course_workloads JOIN (SELECT course_workloads.id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN course_workloads ON course_workloads.project_id = project_list.p_id
                WHERE group_list.deletion_id = due_id AND course_workloads.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = course_workloads.id;
              SET changed = ROW_COUNT();
            WHEN 76 THEN
              SET kind = 'refuse', target = 'course_workloads';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN course_workloads ON course_workloads.project_id = project_list.p_id WHERE group_list.deletion_id = due_id AND course_workloads.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 77 THEN
              SET kind = 'note', target = 'course_workloads';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM users STRAIGHT_JOIN course_workloads ON course_workloads.user_id = users.u_id WHERE users.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT course_workloads.deletion_id AS id FROM users STRAIGHT_JOIN course_workloads ON course_workloads.user_id = users.u_id WHERE users.deletion_id = due_id
                  AND course_workloads.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 78 THEN
              SET kind = 'remove', target = 'course_workloads';
              DELETE course_workloads FROM course_workloads JOIN (SELECT course_workloads.id FROM users STRAIGHT_JOIN course_workloads ON course_workloads.user_id = users.u_id
                WHERE users.deletion_id = due_id AND course_workloads.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = course_workloads.id;
              SET changed = ROW_COUNT();
            WHEN 79 THEN
              SET kind = 'refuse', target = 'course_workloads';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM users STRAIGHT_JOIN course_workloads ON course_workloads.user_id = users.u_id WHERE users.deletion_id = due_id AND course_workloads.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 80 THEN
              SET kind = 'remove', target = 'config_files';
              DELETE FROM config_files WHERE deletion_id = due_id ORDER BY cf_id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 81 THEN
              SET kind = 'note', target = 'config_files';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM project_list STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id WHERE project_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT config_files.deletion_id AS id FROM project_list STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id WHERE project_list.deletion_id = due_id
                  AND config_files.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 82 THEN
              SET kind = 'remove', target = 'config_files';
              DELETE config_files FROM config_files JOIN (SELECT config_files.cf_id FROM project_list STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id
                WHERE project_list.deletion_id = due_id AND config_files.deletion_id <> '' LIMIT room) AS chosen ON chosen.cf_id = config_files.cf_id;
              SET changed = ROW_COUNT();
            WHEN 83 THEN
              SET kind = 'refuse', target = 'config_files';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM project_list STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id WHERE project_list.deletion_id = due_id AND config_files.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 84 THEN
              SET kind = 'note', target = 'config_files';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id WHERE group_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT config_files.deletion_id AS id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id WHERE group_list.deletion_id = due_id
                  AND config_files.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 85 THEN
              SET kind = 'remove', target = 'config_files';
              DELETE config_files FROM config_files JOIN (SELECT config_files.cf_id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id
                WHERE group_list.deletion_id = due_id AND config_files.deletion_id <> '' LIMIT room) AS chosen ON chosen.cf_id = config_files.cf_id;
              SET changed = ROW_COUNT();
            WHEN 86 THEN
              SET kind = 'refuse', target = 'config_files';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id STRAIGHT_JOIN config_files ON config_files.project_id = project_list.p_id WHERE group_list.deletion_id = due_id AND config_files.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 87 THEN
              SET kind = 'remove', target = 'cluster_image_status';
              DELETE FROM cluster_image_status WHERE deletion_id = due_id ORDER BY id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 88 THEN
              SET kind = 'note', target = 'cluster_image_status';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM container_tags STRAIGHT_JOIN cluster_image_status ON cluster_image_status.tag_id = container_tags.id WHERE container_tags.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT cluster_image_status.deletion_id AS id FROM container_tags STRAIGHT_JOIN cluster_image_status ON cluster_image_status.tag_id = container_tags.id WHERE container_tags.deletion_id = due_id
                  AND cluster_image_status.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 89 THEN
              SET kind = 'remove', target = 'cluster_image_status';
              DELETE cluster_image_status FROM cluster_image_status JOIN (SELECT cluster_image_status.id FROM container_tags STRAIGHT_JOIN cluster_image_status ON cluster_image_status.tag_id = container_tags.id
                WHERE container_tags.deletion_id = due_id AND cluster_image_status.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = cluster_image_status.id;
              SET changed = ROW_COUNT();
            WHEN 90 THEN
              SET kind = 'refuse', target = 'cluster_image_status';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM container_tags STRAIGHT_JOIN cluster_image_status ON cluster_image_status.tag_id = container_tags.id WHERE container_tags.deletion_id = due_id AND cluster_image_status.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 91 THEN
              SET kind = 'note', target = 'cluster_image_status';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id STRAIGHT_JOIN cluster_image_status ON cluster_image_status.tag_id = container_tags.id WHERE container_repositories.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT cluster_image_status.deletion_id AS id FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id STRAIGHT_JOIN cluster_image_status ON cluster_image_status.tag_id = container_tags.id WHERE container_repositories.deletion_id = due_id
                  AND cluster_image_status.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 92 THEN
              SET kind = 'remove', target = 'cluster_image_status';
              DELETE cluster_image_status FROM cluster_image_status JOIN (SELECT cluster_image_status.id FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id STRAIGHT_JOIN cluster_image_status ON cluster_image_status.tag_id = container_tags.id
                WHERE container_repositories.deletion_id = due_id AND cluster_image_status.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = cluster_image_status.id;
              SET changed = ROW_COUNT();
            WHEN 93 THEN
              SET kind = 'refuse', target = 'cluster_image_status';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id STRAIGHT_JOIN cluster_image_status ON cluster_image_status.tag_id = container_tags.id WHERE container_repositories.deletion_id = due_id AND cluster_image_status.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 94 THEN
              SET kind = 'remove', target = 'user_group';
              DELETE FROM user_group WHERE deletion_id = due_id ORDER BY u_id, g_id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 95 THEN
              SET kind = 'note', target = 'user_group';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM group_list STRAIGHT_JOIN user_group ON user_group.g_id = group_list.g_id WHERE group_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT user_group.deletion_id AS id FROM group_list STRAIGHT_JOIN user_group ON user_group.g_id = group_list.g_id WHERE group_list.deletion_id = due_id
                  AND user_group.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 96 THEN
              SET kind = 'remove', target = 'user_group';
              DELETE user_group FROM user_group JOIN (SELECT user_group.u_id, user_group.g_id FROM group_list STRAIGHT_JOIN user_group ON user_group.g_id = group_list.g_id
                WHERE group_list.deletion_id = due_id AND user_group.deletion_id <> '' LIMIT room) AS chosen ON chosen.u_id = user_group.u_id AND chosen.g_id = user_group.g_id;
              SET changed = ROW_COUNT();
            WHEN 97 THEN
              SET kind = 'refuse', target = 'user_group';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM group_list STRAIGHT_JOIN user_group ON user_group.g_id = group_list.g_id WHERE group_list.deletion_id = due_id AND user_group.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 98 THEN
              SET kind = 'note', target = 'user_group';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM users STRAIGHT_JOIN user_group ON user_group.u_id = users.u_id WHERE users.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT user_group.deletion_id AS id FROM users STRAIGHT_JOIN user_group ON user_group.u_id = users.u_id WHERE users.deletion_id = due_id
                  AND user_group.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 99 THEN
              SET kind = 'remove', target = 'user_group';
              DELETE user_group FROM user_group JOIN (SELECT user_group.u_id, user_group.g_id FROM users STRAIGHT_JOIN user_group ON user_group.u_id = users.u_id
                WHERE users.deletion_id = due_id AND user_group.deletion_id <> '' LIMIT room) AS chosen ON chosen.u_id = user_group.u_id AND chosen.g_id = user_group.g_id;
              SET changed = ROW_COUNT();
            WHEN 100 THEN
              SET kind = 'refuse', target = 'user_group';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM users STRAIGHT_JOIN user_group ON user_group.u_id = users.u_id WHERE users.deletion_id = due_id AND user_group.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 101 THEN
              SET kind = 'remove', target = 'tokens';
              DELETE FROM tokens WHERE deletion_id = due_id ORDER BY id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 102 THEN
              SET kind = 'note', target = 'tokens';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM users STRAIGHT_JOIN tokens ON tokens.user_id = users.u_id WHERE users.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT tokens.deletion_id AS id FROM users STRAIGHT_JOIN tokens ON tokens.user_id = users.u_id WHERE users.deletion_id = due_id
                  AND tokens.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 103 THEN
              SET kind = 'remove', target = 'tokens';
              DELETE tokens FROM tokens JOIN (SELECT tokens.id FROM users STRAIGHT_JOIN tokens ON tokens.user_id = users.u_id
                WHERE users.deletion_id = due_id AND tokens.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = tokens.id;
              SET changed = ROW_COUNT();
            WHEN 104 THEN
              SET kind = 'refuse', target = 'tokens';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM users STRAIGHT_JOIN tokens ON tokens.user_id = users.u_id WHERE users.deletion_id = due_id AND tokens.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 105 THEN
              SET kind = 'remove', target = 'project_list';
              DELETE FROM project_list WHERE deletion_id = due_id ORDER BY p_id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 106 THEN
              SET kind = 'note', target = 'project_list';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT project_list.deletion_id AS id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = due_id
                  AND project_list.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 107 THEN
              SET kind = 'remove', target = 'project_list';
              DELETE project_list FROM project_list JOIN (SELECT project_list.p_id FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id
                WHERE group_list.deletion_id = due_id AND project_list.deletion_id <> '' LIMIT room) AS chosen ON chosen.p_id = project_list.p_id;
              SET changed = ROW_COUNT();
            WHEN 108 THEN
              SET kind = 'refuse', target = 'project_list';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM group_list STRAIGHT_JOIN project_list ON project_list.g_id = group_list.g_id WHERE group_list.deletion_id = due_id AND project_list.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 109 THEN
              SET kind = 'remove', target = 'idempotency_keys';
              DELETE idempotency_keys FROM idempotency_keys JOIN (SELECT idempotency_keys.user_id, idempotency_keys.idempotency_key FROM users STRAIGHT_JOIN idempotency_keys ON idempotency_keys.user_id = users.u_id
                WHERE users.deletion_id = due_id LIMIT room) AS chosen ON chosen.user_id = idempotency_keys.user_id AND chosen.idempotency_key = idempotency_keys.idempotency_key;
              SET changed = ROW_COUNT();
            WHEN 110 THEN
              SET kind = 'remove', target = 'container_tags';
              DELETE FROM container_tags WHERE deletion_id = due_id ORDER BY id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 111 THEN
              SET kind = 'note', target = 'container_tags';
              SET changed = 0;
              IF EXISTS (SELECT 1 FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = due_id) THEN
                UPDATE deletions JOIN (SELECT DISTINCT container_tags.deletion_id AS id FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = due_id
                  AND container_tags.deletion_id NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + 2;
              END IF;
            WHEN 112 THEN
              SET kind = 'remove', target = 'container_tags';
              DELETE container_tags FROM container_tags JOIN (SELECT container_tags.id FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id
                WHERE container_repositories.deletion_id = due_id AND container_tags.deletion_id <> '' LIMIT room) AS chosen ON chosen.id = container_tags.id;
              SET changed = ROW_COUNT();
            WHEN 113 THEN
              SET kind = 'refuse', target = 'container_tags';
              SELECT COUNT(*) INTO changed FROM (SELECT 1 FROM container_repositories STRAIGHT_JOIN container_tags ON container_tags.repository_id = container_repositories.id WHERE container_repositories.deletion_id = due_id AND container_tags.deletion_id = '' LIMIT 1) AS live_row;
            WHEN 114 THEN
              SET kind = 'remove', target = 'audit_logs';
              DELETE audit_logs FROM audit_logs JOIN (SELECT audit_logs.id FROM users STRAIGHT_JOIN audit_logs ON audit_logs.user_id = users.u_id
                WHERE users.deletion_id = due_id LIMIT room) AS chosen ON chosen.id = audit_logs.id;
              SET changed = ROW_COUNT();
            WHEN 115 THEN
              SET kind = 'unlink', target = 'image_requests.reviewer_id';
              UPDATE image_requests JOIN (SELECT image_requests.id FROM users STRAIGHT_JOIN image_requests ON image_requests.reviewer_id = users.u_id
                WHERE users.deletion_id = due_id LIMIT room) AS chosen ON chosen.id = image_requests.id SET image_requests.reviewer_id = NULL;
              SET changed = ROW_COUNT();
            WHEN 116 THEN
              SET kind = 'remove', target = 'users';
              DELETE FROM users WHERE deletion_id = due_id ORDER BY u_id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 117 THEN
              SET kind = 'remove', target = 'group_list';
              DELETE FROM group_list WHERE deletion_id = due_id ORDER BY g_id LIMIT room;
              SET changed = ROW_COUNT();
            WHEN 118 THEN
              SET kind = 'remove', target = 'container_repositories';
              DELETE FROM container_repositories WHERE deletion_id = due_id ORDER BY id LIMIT room;
              SET changed = ROW_COUNT();
            END CASE;
            IF kind = 'refuse' AND changed > 0 THEN
              SET outcome = 'failed';
              SET problem = CONCAT('live rows of ', target, ' hang on rows of this deletion');
            ELSEIF kind IN ('remove', 'unlink') AND changed > 0 THEN
              SET place = CONCAT('$."', target, '"');
              SET gone = JSON_SET(gone, place, CAST(COALESCE(JSON_VALUE(gone, place), 0) AS SIGNED) + changed);
              SET room = room - changed;
            END IF;
            IF room > 0 AND outcome IS NULL THEN
              SET step = step + 1;
            END IF;
          END WHILE;
          IF outcome IS NULL AND step > last_step THEN
            SET outcome = 'purged', problem = NULL;
            IF EXISTS (SELECT 1 FROM container_repositories WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM group_list WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM users WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM container_tags WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM project_list WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM tokens WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM user_group WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM cluster_image_status WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM config_files WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM course_workloads WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM forms WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM image_requests WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM form_messages WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM image_allow_list WHERE deletion_id = due_id)
              OR EXISTS (SELECT 1 FROM resources WHERE deletion_id = due_id) THEN
              SET outcome = 'failed', problem = 'rows were added to this deletion while it was purged';
            END IF;
          END IF;
          IF outcome IN ('purged', 'failed') THEN
            -- Earlier deletions whose last rows went with this one can come back only with its bundle.
            UPDATE deletions n SET n.state = 'purged', n.updated_at = UTC_TIMESTAMP(6)
             WHERE outcome = 'purged' AND n.purged_with = due_id AND n.state IN ('deleted', 'failed')
               AND NOT (EXISTS (SELECT 1 FROM container_repositories WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM group_list WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM users WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM container_tags WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM project_list WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM tokens WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM user_group WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM cluster_image_status WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM config_files WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM course_workloads WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM forms WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM image_requests WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM form_messages WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM image_allow_list WHERE deletion_id = n.id)
              OR EXISTS (SELECT 1 FROM resources WHERE deletion_id = n.id));
            UPDATE deletions n SET n.purged_with = NULL
             WHERE outcome = 'purged' AND n.purged_with = due_id AND n.state <> 'purged';
            UPDATE deletions
               SET state = outcome, failure = problem, lease_token = NULL, lease_until = NULL,
                   updated_at = UTC_TIMESTAMP(6)
             WHERE id = due_id;
            INSERT INTO audit_logs
              (user_id, actor_name, action, resource_type, resource_id, resource_label, new_data, description,
               created_at)
            VALUES
              (admin_id, 'holdfast', 'purge', due_type, due_root, due_label,
               JSON_OBJECT('deletion_id', due_id, 'state', outcome, 'failure', problem, 'counts', JSON_COMPACT(gone),
                           'bundle_path', due_path, 'bundle_sha256', due_sha256),
               CONCAT('cleanup_soft_deleted(', days, ')'), UTC_TIMESTAMP(6));
          END IF;
          COMMIT;
          SET first_step = step, gone_before = gone;
        END chunk;
        IF outcome IS NOT NULL THEN
          LEAVE chunks;
        END IF;
      END LOOP chunks;

      IF outcome = 'given up' THEN
        SET problem = CONCAT('a deletion met other transactions again and again; call once more: ', problem);
        SIGNAL SQLSTATE '40001' SET MESSAGE_TEXT = problem;
      END IF;
      SET purged = purged + (outcome = 'purged'), failed = failed + (outcome = 'failed');
      SET targets = JSON_KEYS(gone_before), nth = 0, how_many = COALESCE(JSON_LENGTH(gone_before), 0);
      WHILE nth < how_many DO
        SET place = CONCAT('$."', JSON_VALUE(targets, CONCAT('$[', nth, ']')), '"');
        SET counts = JSON_SET(counts, place, CAST(COALESCE(JSON_VALUE(counts, place), 0) AS SIGNED)
                                             + CAST(JSON_VALUE(gone_before, place) AS SIGNED));
        SET nth = nth + 1;
      END WHILE;
    END LOOP deletions_due;

    SELECT COALESCE(SUM(state = 'deleted' AND bundle_verified_at IS NULL AND created_at < cutoff), 0),
           COALESCE(SUM(state = 'purging'), 0)
      INTO unbundled, busy FROM deletions WHERE state IN ('deleted', 'purging');
  END;
  SET SESSION tx_isolation = isolation_before;
  SELECT purged, failed, unbundled AS without_bundle, busy AS in_progress, counts;
END cleanup

CREATE PROCEDURE cleanup_audit_logs(IN days DECIMAL(65, 0))
MODIFIES SQL DATA SQL SECURITY INVOKER
COMMENT 'Removes the audit entries older than so many days that stand in a verified archive'
cleanup: BEGIN
  DECLARE chunk_rows INT DEFAULT 500;
  DECLARE most_conflicts INT DEFAULT 20;
  DECLARE isolation_before VARCHAR(30) DEFAULT @@SESSION.tx_isolation;
  DECLARE cutoff, older_than, all_before, archive_made DATETIME(6);
  DECLARE last_seen DATETIME(6) DEFAULT '1000-01-01';
  DECLARE admin_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_nopad_bin;
  DECLARE archive, last_archive VARCHAR(21) CHARACTER SET ascii COLLATE ascii_nopad_bin DEFAULT '';
  DECLARE from_id, to_id, next_id, up_to BIGINT;
  DECLARE rows_left, still_there, changed, here, removed, conflicts, kept INT DEFAULT 0;
  DECLARE is_done, is_whole BOOLEAN DEFAULT FALSE;
  DECLARE problem TEXT;

  -- DECIMAL, so that a number of any size is refused with this sentence.
  IF days IS NULL OR days < 1 OR days > 36500 THEN
    SIGNAL SQLSTATE '22023' SET MESSAGE_TEXT = 'cleanup_audit_logs takes a number of days, from 1 to 36500';
  END IF;
  IF @@in_transaction THEN
    SIGNAL SQLSTATE '25001'
      SET MESSAGE_TEXT = 'cleanup_audit_logs commits as it goes: call it outside of a transaction';
  END IF;
  SELECT u_id INTO admin_id FROM users WHERE username = 'admin' AND deletion_id = '';
  IF admin_id IS NULL THEN
    SIGNAL SQLSTATE '02000'
      SET MESSAGE_TEXT = 'there is no user admin, in whose name the audit log would show the removal';
  END IF;
  SET SESSION tx_isolation = 'READ-COMMITTED';
  SET cutoff = UTC_TIMESTAMP(6) - INTERVAL days DAY;

  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN
      ROLLBACK;
      SET SESSION tx_isolation = isolation_before;
      RESIGNAL;
    END;

    archives: LOOP
      SET archive = NULL;
      SELECT id, first_id, last_id, created_at, made_before INTO archive, from_id, to_id, archive_made, all_before
        FROM audit_archives
       WHERE bundle_verified_at IS NOT NULL AND removed_at IS NULL
         AND (created_at > last_seen OR created_at = last_seen AND id > last_archive)
       ORDER BY created_at, id LIMIT 1;
      IF archive IS NULL THEN
        LEAVE archives;
      END IF;
      SET last_seen = archive_made, last_archive = archive, next_id = from_id, here = 0, is_done = FALSE;
      SET older_than = LEAST(all_before, cutoff), is_whole = all_before <= cutoff;

      chunks: LOOP
        chunk: BEGIN
          DECLARE EXIT HANDLER FOR 1020, 1205, 1213 BEGIN
            -- It met another transaction: the chunk begins again.
            GET DIAGNOSTICS CONDITION 1 problem = MESSAGE_TEXT;
            ROLLBACK;
            SET conflicts = conflicts + 1, is_done = FALSE;
          END;
          START TRANSACTION;
          -- The row of the archive is the lock that other callers, on other nodes too, wait for.
          SET rows_left = NULL;
          SELECT row_count - removed_rows INTO rows_left
            FROM audit_archives WHERE id = archive AND removed_at IS NULL FOR UPDATE;
          IF here = 0 AND rows_left IS NOT NULL THEN
            SELECT COUNT(*) INTO still_there
              FROM audit_logs WHERE id BETWEEN from_id AND to_id AND created_at < all_before;
          END IF;
          IF rows_left IS NULL THEN
            SET is_done = TRUE, changed = 0;
          ELSEIF here = 0 AND still_there > rows_left THEN
            -- Entries came back with the recovery of a user: they are not in this archive and wait for the next one.
            UPDATE audit_archives SET removed_at = UTC_TIMESTAMP(6), updated_at = UTC_TIMESTAMP(6) WHERE id = archive;
            SET is_done = TRUE, changed = 0;
          ELSE
            SELECT MAX(id) INTO up_to
              FROM (SELECT id FROM audit_logs
                     WHERE id BETWEEN next_id AND to_id AND created_at < older_than
                     ORDER BY id LIMIT chunk_rows) AS next_rows;
            DELETE FROM audit_logs WHERE id BETWEEN next_id AND up_to AND created_at < older_than;
            SET changed = ROW_COUNT();
            SET is_done = NOT EXISTS (SELECT 1 FROM audit_logs
                                       WHERE id BETWEEN up_to + 1 AND to_id AND created_at < older_than);
            UPDATE audit_archives
               SET removed_rows = removed_rows + changed, updated_at = UTC_TIMESTAMP(6),
                   removed_at = IF(is_done AND is_whole, UTC_TIMESTAMP(6), NULL)
             WHERE id = archive;
            IF is_done AND here + changed > 0 THEN
              INSERT INTO audit_logs
                (user_id, actor_name, action, resource_type, resource_id, resource_label, new_data, description,
                 created_at)
              SELECT admin_id, 'holdfast', 'purge', 'audit-log', id, id,
                     JSON_OBJECT('counts', JSON_OBJECT('audit_logs', removed_rows),
                                 'made_before', CONCAT(REPLACE(older_than, ' ', 'T'), 'Z'),
                                 'bundle_path', bundle_path),
                     CONCAT('cleanup_audit_logs(', days, ')'), UTC_TIMESTAMP(6)
                FROM audit_archives WHERE id = archive;
            END IF;
          END IF;
          COMMIT;
          SET here = here + changed, removed = removed + changed;
          SET next_id = COALESCE(up_to, to_id) + 1;
        END chunk;
        IF conflicts > most_conflicts THEN
          SET problem = CONCAT('the audit log met other transactions again and again; call once more: ', problem);
          SIGNAL SQLSTATE '40001' SET MESSAGE_TEXT = problem;
        END IF;
        IF is_done THEN
          LEAVE chunks;
        END IF;
      END LOOP chunks;
    END LOOP archives;
    SELECT COUNT(*) INTO kept FROM audit_logs WHERE created_at < cutoff;
  END;
  SET SESSION tx_isolation = isolation_before;
  SELECT CONCAT('{"audit_logs": ', removed, '}') AS counts, kept AS without_archive;
END cleanup
