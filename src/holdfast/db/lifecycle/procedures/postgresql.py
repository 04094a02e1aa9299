"""The procedures in PL/pgSQL.

Statements of the steps are run by EXECUTE: their plan is then made for the very deletion. A plan for any deletion
would take the rows that bear it for half of the table, and read it from the beginning for each chunk.
"""

from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.lifecycle.procedures.steps import Kind, Step, newer_edges, purge_steps

# Transactions that CALL has not opened cannot be ended by it, and nothing tells them apart before it tries. So the
# attempt is made first, by a procedure whose name then stands in the error.
OUTSIDE = """
CREATE PROCEDURE cleanup_must_be_called_outside_of_a_transaction()
LANGUAGE plpgsql AS $procedure$
BEGIN
  COMMIT;
END
$procedure$
"""

_CLEANUP_SOFT_DELETED = """
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
    IF due.state = 'deleted' AND ({newer}) THEN
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
      EXIT WHEN step > {last_step};
      changed := NULL;
      BEGIN
        CASE step
{steps}
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
    IF outcome = 'purged' AND ({remaining}) THEN
      outcome := 'failed';
      problem := 'rows were added to this deletion while it was purged';
    END IF;
    IF outcome IN ('purged', 'failed') THEN
      -- Earlier deletions whose last rows went with this one can come back only with its bundle.
      UPDATE deletions n SET state = 'purged', updated_at = clock_timestamp()
       WHERE outcome = 'purged' AND n.purged_with = due.id AND n.state IN ('deleted', 'failed')
         AND NOT ({remaining_of_nested});
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
"""

CLEANUP_AUDIT_LOGS = """
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
        .replace("{remaining}", _bearing("due.id"))
    )


def _branch(number: int, step: Step) -> str:
    statement = _STATEMENTS[step.kind](step)
    return f"""\
        WHEN {number} THEN
          kind := '{step.kind}';
          target := '{step.target}';
          EXECUTE $step${statement}$step$
            USING due.id, room;"""


def _chunk(step: Step, condition: str = "") -> str:
    name = step.table.name
    chosen = (
        f"SELECT {name}.ctid FROM {_source(step)} WHERE {step.bearer} = $1{condition} LIMIT $2 FOR UPDATE OF {name}"
    )
    return f"ctid = ANY (ARRAY({chosen}))"


def _source(step: Step) -> str:
    joins = [f" JOIN {edge.parent.name} ON {edge.name} = {edge.parent.name}.{edge.key.name}" for edge in step.path]
    return step.table.name + "".join(joins)


def _unlink(step: Step) -> str:
    assert step.pointer is not None
    return f"UPDATE {step.table.name} SET {step.pointer.column.name} = NULL WHERE {_chunk(step)}"


def _remove(step: Step) -> str:
    # What hangs on the deletion's rows goes whatever deletion it bears, but never a live row.
    never_live = step.path and step.table in GRAPH.soft_tables
    condition = f" AND {step.table.name}.deletion_id <> ''" if never_live else ""
    return f"DELETE FROM {step.table.name} WHERE {_chunk(step, condition)}"


def _note(step: Step) -> str:
    bears = f"{step.table.name}.deletion_id"
    nested = f"SELECT {bears} FROM {_source(step)} WHERE {step.bearer} = $1 AND {bears} NOT IN ('', $1)"
    return f"UPDATE deletions SET purged_with = $1 WHERE purged_with IS NULL AND id IN ({nested})"


def _refuse(step: Step) -> str:
    return f"SELECT FROM {_source(step)} WHERE {step.bearer} = $1 AND {step.table.name}.deletion_id = '' LIMIT 1"


_STATEMENTS = {Kind.UNLINK: _unlink, Kind.REMOVE: _remove, Kind.NOTE: _note, Kind.REFUSE: _refuse}


def _bearing(deletion: str) -> str:
    """Whether any row bears a deletion."""
    return "\n      OR ".join(
        f"EXISTS (SELECT FROM {table.name} WHERE deletion_id = {deletion})" for table in GRAPH.soft_tables
    )


def _newer_rows() -> str:
    """Whether rows without soft deletion, such as audit entries, came after the bundle."""
    return "\n        OR ".join(
        f"EXISTS (SELECT FROM {edge.child.name} JOIN {edge.parent.name}"
        f" ON {edge.name} = {edge.parent.name}.{edge.key.name}"
        f" WHERE {edge.parent.name}.deletion_id = due.id AND {edge.child.name}.created_at >= due.bundle_verified_at)"
        for edge in newer_edges()
    )
