"""The statements of config files and their resources."""

from sqlalchemy import bindparam, func, insert, select, update

from holdfast.db.include_deleted import with_deleted
from holdfast.db.listing import Listing
from holdfast.db.statements import Command, Query, any_of, contains_text, live, new_value, parameters_for
from holdfast.db.tables import config_files, deletions, project_list, resources
from holdfast.features.config_files.types import (
    ConfigFile,
    ConfigFileAccess,
    ConfigFileSummary,
    ConfigFileWithResources,
    Resource,
    ResourceSummary,
)
from holdfast.features.groups.queries import groups_of_actor, role_of_actor

# The most config files that stand within a project; the list of them has pages.
MAX_INCLUDED = 100

_cf_id = bindparam("cf_id", type_=config_files.c.cf_id.type)
_r_id = bindparam("r_id", type_=resources.c.r_id.type)
_of_project = config_files.c.project_id == bindparam("project_id", type_=config_files.c.project_id.type)

_SUMMARY = select(
    config_files.c.cf_id,
    config_files.c.filename,
    config_files.c.project_id,
    config_files.c.created_at,
    config_files.c.updated_at,
    select(func.count())
    .select_from(resources)
    .where(resources.c.cf_id == config_files.c.cf_id, live(resources))
    .correlate(config_files)
    .scalar_subquery()
    .label("resource_count"),
).where(_of_project, live(config_files))

CONFIG_FILES = Listing(
    "config_files",
    _SUMMARY,
    ConfigFileSummary,
    row_id=config_files.c.cf_id,
    sorts={"filename": config_files.c.filename, "created_at": config_files.c.created_at},
    default_sort="filename",
    filters={"filename": config_files.c.filename == bindparam("filename", type_=config_files.c.filename.type)},
    search=contains_text(config_files.c.filename, "q"),
    count_select=select(config_files.c.cf_id).where(_of_project, live(config_files)),
)
FILES_OF_PROJECT = Query(
    "config_files.files_of_project",
    _SUMMARY.order_by(config_files.c.filename, config_files.c.cf_id).limit(MAX_INCLUDED),
    ConfigFileWithResources,
)

_CONFIG_FILE = select(
    config_files.c.cf_id,
    config_files.c.filename,
    config_files.c.project_id,
    config_files.c.content,
    config_files.c.created_at,
    config_files.c.updated_at,
).where(config_files.c.cf_id == _cf_id, live(config_files))
_member_projects = select(project_list.c.p_id).where(project_list.c.g_id.in_(groups_of_actor()), live(project_list))
GET_CONFIG_FILE = Query("config_files.get_config_file", _CONFIG_FILE, ConfigFile)
GET_CONFIG_FILE_INCLUDE_DELETED = with_deleted(GET_CONFIG_FILE, config_files)
GET_CONFIG_FILE_AS_MEMBER = Query(
    "config_files.get_config_file_as_member",
    _CONFIG_FILE.where(config_files.c.project_id.in_(_member_projects)),
    ConfigFile,
)
# For changing it and its resources: one caller at a time.
FIND_CONFIG_FILE_ALONE = Query(
    "config_files.find_config_file_alone", _CONFIG_FILE.with_for_update(of=config_files), ConfigFile
)

FIND_ACCESS = Query(
    "config_files.find_access",
    select(
        config_files.c.cf_id,
        config_files.c.project_id,
        project_list.c.allow_privileged,
        role_of_actor(project_list.c.g_id).label("actor_role"),
    )
    .select_from(config_files)
    .join(project_list, project_list.c.p_id == config_files.c.project_id)
    .where(config_files.c.cf_id == _cf_id, live(config_files), live(project_list)),
    ConfigFileAccess,
)

INSERT_CONFIG_FILE = Command(
    "config_files.insert_config_file",
    insert(config_files).values(
        parameters_for(config_files, "cf_id", "filename", "content", "project_id", "created_at", "updated_at")
    ),
)
UPDATE_CONFIG_FILE = Command(
    "config_files.update_config_file",
    update(config_files)
    .where(config_files.c.cf_id == _cf_id)
    .values(new_value(config_files, "filename", "content", "updated_at")),
)

_RESOURCE_SUMMARY = select(
    resources.c.r_id,
    resources.c.cf_id,
    resources.c.type,
    resources.c.name,
    resources.c.description,
    resources.c.created_at,
    resources.c.updated_at,
).where(live(resources))
# Of one file, or of all the files of a project: one statement, however many they are.
RESOURCES_OF_FILES = Query(
    "config_files.resources_of_files",
    _RESOURCE_SUMMARY.where(any_of(resources.c.cf_id, "cf_ids")).order_by(resources.c.cf_id, resources.c.name),
    ResourceSummary,
)
RESOURCES_OF_FILES_INCLUDE_DELETED = with_deleted(RESOURCES_OF_FILES, resources)

_RESOURCE = _RESOURCE_SUMMARY.add_columns(resources.c.parsed_yaml).where(resources.c.cf_id == _cf_id)
RESOURCES = Listing(
    "resources",
    _RESOURCE,
    Resource,
    row_id=resources.c.r_id,
    sorts={"name": resources.c.name, "created_at": resources.c.created_at},
    default_sort="name",
    filters={"type": resources.c.type == bindparam("type", type_=resources.c.type.type)},
    search=contains_text(resources.c.name, "q"),
    count_select=select(resources.c.r_id).where(live(resources), resources.c.cf_id == _cf_id),
)
GET_RESOURCE = Query("config_files.get_resource", _RESOURCE.where(resources.c.r_id == _r_id), Resource)
GET_RESOURCE_INCLUDE_DELETED = with_deleted(GET_RESOURCE, resources)
FIND_RESOURCES_ALONE = Query("config_files.find_resources_alone", _RESOURCE.with_for_update(of=resources), Resource)

INSERT_RESOURCE = Command(
    "config_files.insert_resource",
    insert(resources).values(
        parameters_for(
            resources, "r_id", "cf_id", "type", "name", "parsed_yaml", "description", "created_at", "updated_at"
        )
    ),
)
UPDATE_RESOURCE = Command(
    "config_files.update_resource",
    update(resources)
    .where(resources.c.r_id == _r_id)
    .values(new_value(resources, "parsed_yaml", "description", "updated_at")),
)
DELETE_RESOURCES = Command(
    "config_files.delete_resources",
    update(resources)
    .where(any_of(resources.c.r_id, "r_ids"), live(resources))
    .values(new_value(resources, "deleted_at", "deletion_id")),
)
INSERT_DELETION = Command(
    "config_files.insert_deletion",
    insert(deletions).values(
        parameters_for(
            deletions,
            "id",
            "root_type",
            "root_id",
            "root_label",
            "actor_id",
            "actor_name",
            "reason",
            "state",
            "planned_counts",
            "actual_counts",
            "created_at",
            "updated_at",
        )
    ),
)
