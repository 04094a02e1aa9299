"""A Hypothesis state machine: the product and the model do the same, and must agree after each step."""

import itertools
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from holdfast.core.clock import utc_now
from holdfast.core.errors import HoldfastError
from holdfast.features.deletions.errors import DecisionNeededError, DeletionProtectedError, PlanChangedError
from tests.lifecycle.comparing import OFTEN, ComparingMachine
from tests.lifecycle.model import ROOT_TYPES, Deletion, RowId
from tests.lifecycle.world import count_audit_rows, dump_counts, dump_rows, list_bundled

Result = TypeVar("Result")

# Few, so that a name is often taken when its deleted bearer comes back.
_USERNAMES = st.sampled_from(["ada", "grace", "edsger"])
_GROUP_NAMES = st.sampled_from(["physics", "logic"])
_FILENAMES = st.sampled_from(["web.yaml", "jobs.yaml"])
_RESOURCES = st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, unique=True)
_IMAGES = st.sampled_from(["nginx:1.27", "nginx", "redis:7"])
_POD_NAMES = st.sampled_from(["pod-a", None])
_SELDOM = st.sampled_from([False, False, True])
_ROLES = st.sampled_from(["admin", "manager", "user"])


_MADE = [
    "user",
    "group",
    "project",
    "member",
    "config_file",
    "config_file_anew",
    "form",
    "message",
    "request",
    "approval",
    "rule",
    "workload",
    "user_name",
]
_WAYS_TO_DELETE = ["great", "any", "any", "by an old plan", "resource", "protected"]
_LATER_ACTS = ["restore", "restore", "restore", "purge", "purge", "recover", "recover", "write_bundles", "clean_up"]
Act = Any  # A coroutine, or nothing where what it takes is not there.


class LifecycleMachine(ComparingMachine):
    """The acts of people and of the product, in any order."""

    @initialize()
    def start(self) -> None:
        self.run(self.world.start())
        self.model.rows = self.run(dump_rows(self.world.database))
        self.kept = set(self.model.rows)
        self.fill()

    def fill(self) -> None:
        """A course with two people in it, and something of everything."""
        world = self.world
        self.make(world.make_user("ada"))
        self.make(world.make_user("grace"))
        self.make(world.make_group("physics"))
        ada, grace, g_id = *self.ids("users"), *self.ids("group_list")
        self.make(world.make_project(g_id))
        (p_id,) = self.ids("project_list")
        self.make(world.join(ada, g_id, "admin"))
        self.make(world.join(grace, g_id, "user"))
        self.make(world.make_config_file(p_id, "web.yaml", ["one", "two"]))
        self.make(world.open_form(ada, p_id, "Please"))
        self.make(world.open_form(grace, None, None))
        for user, form_id in itertools.product((ada, grace), self.ids("forms")):
            self.make(world.add_message(user, form_id))
        self.make(world.file_request(ada, p_id, "nginx:1.27"))
        self.make(world.file_request(grace, None, "redis:7"))
        for request_id in self.ids("image_requests"):
            self.make(world.approve(grace, request_id))
        self.make(world.run_workload(ada, p_id, 1, None))
        self.make(world.run_workload(grace, p_id, 1, None))

    # What people make.

    @rule(data=st.data(), noun=st.sampled_from(_MADE))
    def make_something(self, data: st.DataObject, noun: str) -> None:
        if (act := getattr(self, f"_{noun}")(data)) is not None:
            self.make(act)

    def _user(self, data: st.DataObject) -> Act:
        return self.world.make_user(data.draw(_USERNAMES))

    def _group(self, data: st.DataObject) -> Act:
        return self.world.make_group(data.draw(_GROUP_NAMES))

    def _project(self, data: st.DataObject) -> Act:
        group = self.draw(data, "group_list")
        return group and self.world.make_project(group)

    def _member(self, data: st.DataObject) -> Act:
        user, group = self.draw(data, "users"), self.draw(data, "group_list")
        return user and group and self.world.join(user, group, data.draw(_ROLES))

    def _config_file(self, data: st.DataObject) -> Act:
        project = self.draw(data, "project_list")
        return project and self.world.make_config_file(project, data.draw(_FILENAMES), data.draw(_RESOURCES))

    def _config_file_anew(self, data: st.DataObject) -> Act:
        file = self.draw(data, "config_files")
        return file and self.world.replace_config_file(file, data.draw(_RESOURCES))

    def _form(self, data: st.DataObject) -> Act:
        user, project = self.draw(data, "users"), self.draw_project_or_none(data)
        return user and self.world.open_form(user, project, data.draw(st.sampled_from([None, "Please"])))

    def _message(self, data: st.DataObject) -> Act:
        user, form = self.draw(data, "users"), self.draw(data, "forms")
        return user and form and self.world.add_message(user, form)

    def _request(self, data: st.DataObject) -> Act:
        user, project = self.draw(data, "users"), self.draw_project_or_none(data)
        return user and self.world.file_request(user, project, data.draw(_IMAGES))

    def _approval(self, data: st.DataObject) -> Act:
        user, request = self.draw(data, "users"), self.draw(data, "image_requests")
        return user and request and self.world.approve(user, request)

    def _rule(self, data: st.DataObject) -> Act:
        user, project = self.draw(data, "users"), self.draw_project_or_none(data)
        return user and self.world.add_rule(user, project, data.draw(_IMAGES))

    def _workload(self, data: st.DataObject) -> Act:
        user, project = self.draw(data, "users"), self.draw(data, "project_list")
        gpus, pod_name = data.draw(st.sampled_from([0, 1, 2])), data.draw(_POD_NAMES)
        return user and project and self.world.run_workload(user, project, gpus, pod_name)

    def _user_name(self, data: st.DataObject) -> Act:
        user = self.draw(data, "users")
        return user and self.world.change_user(user, data.draw(_USERNAMES))

    @rule(data=st.data())
    def take_what_something_deleted_had(self, data: st.DataObject) -> None:
        """A user or a config file gets the name of a deleted one, or a workload the GPUs."""
        gone = [
            row
            for row, values in self.model.rows.items()
            if row[0] in {"users", "config_files", "course_workloads"} and values["deletion_id"]
        ]
        if not gone:
            return
        row = data.draw(st.sampled_from(gone), label="deleted")
        values = self.model.rows[row]
        if row[0] == "users":
            self.make(self.world.make_user(values["username"]))
        elif ("project_list", (values["project_id"],)) in self.live("project_list"):
            user = self.draw(data, "users")
            if row[0] == "config_files":
                self.make(self.world.make_config_file(values["project_id"], values["filename"], ["one"]))
            elif user:
                self.make(self.world.run_workload(user, values["project_id"], values["resource_gpu"], None))
        if data.draw(OFTEN):
            self.restore_one(self.model.deletions[values["deletion_id"]], rename=data.draw(_SELDOM))

    # What deletes, restores, purges and recovers.

    @rule(data=st.data(), roots=st.sampled_from(_WAYS_TO_DELETE), take_along=OFTEN)
    def delete_something(self, data: st.DataObject, roots: str, take_along: bool) -> None:
        if roots == "by an old plan":
            self.delete_by_a_plan_that_is_too_old(data)
        elif roots == "protected":
            self.protect_something(data)
        elif roots == "resource":
            # Resources go when an update of their file leaves them out.
            if file := self.draw(data, "config_files"):
                self.make(self.world.replace_config_file(file, ["three"]))
        else:
            self.delete(data, ["user", "group", "project"] if roots == "great" else sorted(ROOT_TYPES), take_along)

    def delete(self, data: st.DataObject, root_types: list[str], take_along: bool) -> None:
        present = {each: rows for each in root_types if (rows := self.live(ROOT_TYPES[each]))}
        if not present:
            return
        root_type = data.draw(st.sampled_from(list(present)), label="type")
        root = data.draw(st.sampled_from(present[root_type]), label="root")
        plan = self.run(self.world.plan(root_type, root))
        expected = self.model.numbers(root)
        assert plan.counts == expected.counts
        assert plan.already_deleted == expected.already_deleted
        assert plan.set_null == expected.set_null
        assert plan.at_purge == self.audit_rows_beneath(root)
        kinds = {decision.kind for decision in plan.decisions}
        assert kinds == self.model.decisions(root)
        protected = self.model.protected(root)
        assert {(ROOT_TYPES[item.type], (item.id,)) for item in plan.protected} == protected
        heir = self.draw_heir(data, root) if root_type == "user" else None
        open_kinds = set() if take_along else kinds - ({"enabled-rules", "last-admin"} if heir else set())
        deleted = self.attempt(self.world.delete(root_type, root, plan.token, take_along=take_along, heir=heir))
        if isinstance(deleted, HoldfastError):
            assert isinstance(deleted, DeletionProtectedError if protected else DecisionNeededError)
            assert protected or open_kinds
            self.tally["protected" if protected else "decision needed"] += 1
            return
        assert not protected
        assert not open_kinds
        if heir is not None and (handed := self.model.hand_over(root[1][0], heir)):
            self.adopt_times(handed)
            expected = self.model.numbers(root)
            self.tally["handed over"] += 1
        assert deleted.counts == expected.counts
        self.tally[f"deleted {root_type}"] += 1
        self.model.delete(deleted.deletion_id, root_type, root, utc_now())
        self.adopt_revocations(deleted.deletion_id)

    def protect_something(self, data: st.DataObject) -> None:
        """Something is protected while something is deleted; mostly that is lifted again."""
        rows = [row for table in ("users", "group_list", "project_list") for row in self.live(table)]
        if not rows:
            return
        row = data.draw(st.sampled_from(rows), label="protected")
        self.make(self.world.protect(row, True))
        self.delete(data, ["user", "group", "project"], take_along=True)
        self.the_product_and_the_model_agree()
        if data.draw(OFTEN) and self.model.rows[row]["deletion_id"] == "":
            self.make(self.world.protect(row, False))

    def draw_heir(self, data: st.DataObject, giver: RowId) -> str | None:
        others = [None, *(row[1][0] for row in self.live("users") if row != giver)]
        return data.draw(st.sampled_from(others), label="heir")

    def delete_by_a_plan_that_is_too_old(self, data: st.DataObject) -> None:
        groups = [row for row in self.live("group_list") if not self.model.protected(row)]
        if not groups:
            return
        root = data.draw(st.sampled_from(groups), label="root")
        plan = self.run(self.world.plan("group", root))
        self.make(self.world.make_project(root[1][0]))
        refused = self.attempt(self.world.delete("group", root, plan.token, take_along=True))
        assert isinstance(refused, PlanChangedError)
        assert refused.details["plan"].counts == self.model.numbers(root).counts

    @precondition(lambda self: self.model.deletions)
    @rule(data=st.data(), act=st.sampled_from(_LATER_ACTS))
    def do_something_with_a_deletion(self, data: st.DataObject, act: str) -> None:
        getattr(self, act)(data)

    def restore(self, data: st.DataObject) -> None:
        if deletion := self.draw_deletion(data, "deleted", "restored", "purged"):
            self.restore_one(deletion, rename=data.draw(_SELDOM))

    def restore_one(self, deletion: Deletion, *, rename: bool) -> None:
        new_names = self.model.new_names(deletion) if rename else {}
        obstacles = set() if deletion.state == "restored" else self.model.obstacles_to_restore(deletion, new_names)
        note(f"obstacles: {obstacles}")
        restored = self.attempt(self.world.restore(deletion.id, rename=rename))
        if isinstance(restored, HoldfastError):
            assert obstacles, f"refused without a reason: {restored}"
            assert restored.status == 409
            self.tally.update(f"restore refused: {obstacle}" for obstacle in obstacles)
            return
        if deletion.state == "restored":
            assert restored.counts == {}
            self.tally["restored twice"] += 1
            return
        assert not obstacles
        assert restored.counts == deletion.counts
        assert {(each.table, (each.key,)): each.new for each in restored.renamed} == new_names
        self.tally["restored"] += 1
        self.tally["renamed"] += len(new_names)
        self.model.restore(deletion, new_names)
        self.adopt_versions(new_names)

    def purge(self, data: st.DataObject) -> None:
        if deletion := self.draw_deletion(data, "deleted", "restored", "purged"):
            self.purge_one(deletion)

    def purge_one(self, deletion: Deletion) -> None:
        was_over = deletion.state != "deleted"
        removed = self.run(self.world.purge(deletion.id))
        if was_over:
            assert removed == 0
        else:
            self.follow_purge(deletion, removed)

    def write_bundles(self, _: st.DataObject) -> None:
        """The bundles of all that is deleted are written, and no row changes: the invariant looks at each."""
        self.run(self.world.write_bundles())
        bundled = self.run(list_bundled(self.world.database))
        assert bundled >= {each.id for each in self.model.deletions.values() if each.state == "deleted"}
        self.tally["bundled"] += 1

    def clean_up(self, data: st.DataObject) -> None:
        """Retention takes the oldest deletions, at times all."""
        deletions = list(self.model.deletions.values())
        last = data.draw(st.sampled_from(deletions), label="last")
        due = [each for each in deletions if each.made_at <= last.made_at]
        self.run(self.world.clean_up(last.made_at + timedelta(microseconds=1)))
        for deletion in due:
            # One may have ended with another that was purged before it.
            if deletion.state == "deleted":
                self.follow_purge(deletion, None)

    def follow_purge(self, deletion: Deletion, removed: int | None) -> None:
        had_bundle = deletion.bundle is not None
        counts = self.model.purge(deletion, self.audit_rows)
        assert deletion.bundle is not None
        self.tally["purged"] += 1
        self.adopt_versions(row for row, _, _ in deletion.bundle.pointers)
        if removed is not None:
            assert removed == sum(counts.values())
        if not had_bundle:
            assert self.run(dump_counts(self.world.database, deletion.id)) == counts

    def recover(self, data: st.DataObject) -> None:
        purged = [each for each in self.model.deletions.values() if each.bundle and each.state != "restored"]
        if purged:
            self.recover_one(data.draw(st.sampled_from(purged), label="deletion"))

    def recover_one(self, deletion: Deletion) -> None:
        assert deletion.bundle is not None
        obstacles = self.model.obstacles_to_recovery(deletion)
        note(f"obstacles: {obstacles}")
        outcome = self.attempt(self.world.recover(deletion.id))
        if isinstance(outcome, HoldfastError):
            assert obstacles, f"refused without a reason: {outcome}"
            self.tally.update(f"recovery refused: {obstacle}" for obstacle in obstacles)
            return
        assert not obstacles
        self.tally["recovered"] += 1
        assert outcome.live == self.model.recover(deletion)
        self.adopt_versions(row for row, _, _ in deletion.bundle.pointers)
        by_user = self.run(count_audit_rows(self.world.database))
        assert {user: by_user[user] for user in deletion.bundle.audit_rows} == deletion.bundle.audit_rows

    @rule(data=st.data())
    def delete_purge_and_recover(self, data: st.DataObject) -> None:
        """One deletion all the way, with another one beneath it or beside it."""
        self.delete(data, sorted(ROOT_TYPES), take_along=True)
        self.delete(data, ["user", "group", "project"], take_along=True)
        self.the_product_and_the_model_agree()
        if deletion := next(
            (each for each in reversed(self.model.deletions.values()) if each.state == "deleted"), None
        ):
            self.purge_one(deletion)
            self.the_product_and_the_model_agree()
            self.recover_one(deletion)
