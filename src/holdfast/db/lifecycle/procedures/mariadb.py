"""The procedures in the language of MariaDB.

The lease on the row of a deletion is the only guard: GET_LOCK and SKIP LOCKED do not cross the nodes of a Galera
cluster, a committed row does. A conflict with another node shows at COMMIT, so each chunk lies in a block of its own
that begins again.
"""

from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.lifecycle.procedures.steps import Kind, Step, newer_edges, purge_steps

# Of a path above a table with soft deletion: note, remove, refuse.
_STEPS_OF_A_PATH = 3

_CLEANUP_SOFT_DELETED = """
CREATE PROCEDURE cleanup_soft_deleted(IN days DECIMAL(65, 0))
MODIFIES SQL DATA SQL SECURITY INVOKER
COMMENT 'Purges the deletions older than so many days whose recovery bundle is verified'
cleanup: BEGIN
  -- Written from the foreign keys of the tables: make changes in a migration, never here.
  DECLARE chunk_rows INT DEFAULT 500;
  DECLARE most_conflicts INT DEFAULT 20;
  DECLARE lease_seconds INT DEFAULT 120;
  DECLARE last_step INT DEFAULT {last_step};
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
        IF due_state = 'deleted' AND ({newer}) THEN
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
{steps}
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
            IF {remaining} THEN
              SET outcome = 'failed', problem = 'rows were added to this deletion while it was purged';
            END IF;
          END IF;
          IF outcome IN ('purged', 'failed') THEN
            -- Earlier deletions whose last rows went with this one can come back only with its bundle.
            UPDATE deletions n SET n.state = 'purged', n.updated_at = UTC_TIMESTAMP(6)
             WHERE outcome = 'purged' AND n.purged_with = due_id AND n.state IN ('deleted', 'failed')
               AND NOT ({remaining_of_nested});
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
"""

CLEANUP_AUDIT_LOGS = """
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
"""


def cleanup_soft_deleted() -> str:
    """The text of `cleanup_soft_deleted`."""
    steps = purge_steps()
    return (
        _CLEANUP_SOFT_DELETED.replace(
            "{steps}", "\n".join(_branch(number, step) for number, step in enumerate(steps, 1))
        )
        .replace("{last_step}", str(len(steps)))
        .replace("{newer}", _newer_rows())
        .replace("{remaining_of_nested}", _bearing("n.id"))
        .replace("{remaining}", _bearing("due_id"))
    )


def _branch(number: int, step: Step) -> str:
    return f"""\
            WHEN {number} THEN
              SET kind = '{step.kind}', target = '{step.target}';
              {_STATEMENTS[step.kind](step)};"""


def _chunk(step: Step, condition: str = "") -> str:
    """The keys of at most so many rows, as a table to join: MariaDB takes no LIMIT within IN."""
    name = step.table.name
    chosen = ", ".join(f"{name}.{column}" for column in step.key)
    tied = " AND ".join(f"chosen.{column} = {name}.{column}" for column in step.key)
    return (
        f"{name} JOIN (SELECT {chosen} FROM {_source(step)}\n"
        f"                WHERE {step.bearer} = due_id{condition} LIMIT room) AS chosen ON {tied}"
    )


def _source(step: Step) -> str:
    """The tables from the one that bears the deletion down to the step's.

    In this order and no other: what MariaDB reads for such a statement it locks, and so it meets no row but those
    of the deletion.
    """
    joins = [
        f" STRAIGHT_JOIN {edge.child.name} ON {edge.name} = {edge.parent.name}.{edge.key.name}"
        for edge in step.path[::-1]
    ]
    return (step.path[-1].parent.name if step.path else step.table.name) + "".join(joins)


def _unlink(step: Step) -> str:
    assert step.pointer is not None
    column = f"{step.table.name}.{step.pointer.column.name}"
    return f"UPDATE {_chunk(step)} SET {column} = NULL;\n              SET changed = ROW_COUNT()"


def _remove(step: Step) -> str:
    name = step.table.name
    if not step.path:
        key = ", ".join(step.key)
        statement = f"DELETE FROM {name} WHERE deletion_id = due_id ORDER BY {key} LIMIT room"
    else:
        # What hangs on the deletion's rows goes whatever deletion it bears, but never a live row.
        condition = f" AND {name}.deletion_id <> ''" if step.table in GRAPH.soft_tables else ""
        statement = f"DELETE {name} FROM {_chunk(step, condition)}"
    return f"{statement};\n              SET changed = ROW_COUNT()"


def _note(step: Step) -> str:
    bears = f"{step.table.name}.deletion_id"
    found = f"{_source(step)} WHERE {step.bearer} = due_id"
    # A plain read first, which locks nothing: most paths have no rows but the deletion's own, and those are gone.
    return f"""\
SET changed = 0;
              IF EXISTS (SELECT 1 FROM {found}) THEN
                UPDATE deletions JOIN (SELECT DISTINCT {bears} AS id FROM {found}
                  AND {bears} NOT IN ('', due_id)) AS nested ON nested.id = deletions.id
                  SET deletions.purged_with = due_id WHERE deletions.purged_with IS NULL;
              ELSE
                SET step = step + {_STEPS_OF_A_PATH - 1};
              END IF"""


def _refuse(step: Step) -> str:
    live_row = (
        f"SELECT 1 FROM {_source(step)} WHERE {step.bearer} = due_id AND {step.table.name}.deletion_id = '' LIMIT 1"
    )
    return f"SELECT COUNT(*) INTO changed FROM ({live_row}) AS live_row"


_STATEMENTS = {Kind.UNLINK: _unlink, Kind.REMOVE: _remove, Kind.NOTE: _note, Kind.REFUSE: _refuse}


def _bearing(deletion: str) -> str:
    """Whether any row bears a deletion."""
    return "\n              OR ".join(
        f"EXISTS (SELECT 1 FROM {table.name} WHERE deletion_id = {deletion})" for table in GRAPH.soft_tables
    )


def _newer_rows() -> str:
    """Whether rows without soft deletion, such as audit entries, came after the bundle."""
    return "\n            OR ".join(
        f"EXISTS (SELECT 1 FROM {edge.parent.name} STRAIGHT_JOIN {edge.child.name}"
        f" ON {edge.name} = {edge.parent.name}.{edge.key.name}"
        f" WHERE {edge.parent.name}.deletion_id = due_id AND {edge.child.name}.created_at >= due_bundled)"
        for edge in newer_edges()
    )
