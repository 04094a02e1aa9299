"""The tables of the product: columns, constraints, indexes and policies, one noun a file, and nothing else.

Features read and write them through their named statements; no edge imports them.
"""

from holdfast.db.tables.audit import audit_logs
from holdfast.db.tables.base import metadata, policy_of
from holdfast.db.tables.config_files import config_files, resources
from holdfast.db.tables.deletions import audit_archives, deletions
from holdfast.db.tables.forms import form_messages, forms
from holdfast.db.tables.groups import group_list, user_group
from holdfast.db.tables.images import (
    cluster_image_status,
    container_repositories,
    container_tags,
    image_allow_list,
    image_requests,
)
from holdfast.db.tables.jobs import jobs
from holdfast.db.tables.projects import project_list
from holdfast.db.tables.requests import idempotency_keys
from holdfast.db.tables.runs import runs
from holdfast.db.tables.users import sign_in_failures, tokens, users
from holdfast.db.tables.workloads import course_workloads

__all__ = [
    "audit_archives",
    "audit_logs",
    "cluster_image_status",
    "config_files",
    "container_repositories",
    "container_tags",
    "course_workloads",
    "deletions",
    "form_messages",
    "forms",
    "group_list",
    "idempotency_keys",
    "image_allow_list",
    "image_requests",
    "jobs",
    "metadata",
    "policy_of",
    "project_list",
    "resources",
    "runs",
    "sign_in_failures",
    "tokens",
    "user_group",
    "users",
]
