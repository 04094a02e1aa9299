"""The six views.

Revision: 0008, after 0007.
"""

from holdfast.db.migrations import ops

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ops.create_view(
        "project_group_views",
        """
        SELECT g.g_id, g.group_name,
               (SELECT count(*) FROM project_list p WHERE p.g_id = g.g_id AND p.deletion_id = '') AS project_count,
               (SELECT count(*) FROM resources r
                  JOIN config_files c ON c.cf_id = r.cf_id AND c.deletion_id = ''
                  JOIN project_list p ON p.p_id = c.project_id AND p.deletion_id = ''
                 WHERE p.g_id = g.g_id AND r.deletion_id = '') AS resource_count,
               (SELECT count(*) FROM user_group ug
                  JOIN users u ON u.u_id = ug.u_id AND u.deletion_id = ''
                 WHERE ug.g_id = g.g_id AND ug.deletion_id = '') AS user_count,
               g.created_at AS group_created_at, g.updated_at AS group_updated_at
          FROM group_list g
         WHERE g.deletion_id = ''""",
    )
    ops.create_view(
        "project_resource_views",
        """
        SELECT p.p_id, p.project_name, r.r_id, r.type, r.name, c.filename, r.created_at AS resource_created_at
          FROM project_list p
          JOIN config_files c ON c.project_id = p.p_id AND c.deletion_id = ''
          JOIN resources r ON r.cf_id = c.cf_id AND r.deletion_id = ''
         WHERE p.deletion_id = ''""",
    )
    ops.create_view(
        "group_resource_views",
        """
        SELECT g.g_id, g.group_name, p.p_id, p.project_name, r.r_id, r.type AS resource_type,
               r.name AS resource_name, c.filename, r.created_at AS resource_created_at
          FROM group_list g
          JOIN project_list p ON p.g_id = g.g_id AND p.deletion_id = ''
          JOIN config_files c ON c.project_id = p.p_id AND c.deletion_id = ''
          JOIN resources r ON r.cf_id = c.cf_id AND r.deletion_id = ''
         WHERE g.deletion_id = ''""",
    )
    ops.create_view(
        "user_group_views",
        """
        SELECT u.u_id, u.username, g.g_id, g.group_name, ug.role
          FROM user_group ug
          JOIN users u ON u.u_id = ug.u_id AND u.deletion_id = ''
          JOIN group_list g ON g.g_id = ug.g_id AND g.deletion_id = ''
         WHERE ug.deletion_id = ''""",
    )
    ops.create_view(
        "users_with_superadmin",
        """
        SELECT u.u_id, u.username, u.email, u.full_name, u.type, u.status, u.created_at, u.updated_at,
               CASE WHEN EXISTS (SELECT 1 FROM user_group ug
                                   JOIN group_list g ON g.g_id = ug.g_id AND g.deletion_id = ''
                                  WHERE ug.u_id = u.u_id AND g.group_name = 'super' AND ug.role = 'admin'
                                    AND ug.deletion_id = '') THEN 1 ELSE 0 END AS is_super_admin
          FROM users u
         WHERE u.deletion_id = ''""",
    )
    ops.create_view(
        "project_user_views",
        """
        SELECT p.p_id, p.project_name, g.g_id, g.group_name, u.u_id, u.username, ug.role
          FROM project_list p
          JOIN group_list g ON g.g_id = p.g_id AND g.deletion_id = ''
          JOIN user_group ug ON ug.g_id = g.g_id AND ug.deletion_id = ''
          JOIN users u ON u.u_id = ug.u_id AND u.deletion_id = ''
         WHERE p.deletion_id = ''""",
    )


def downgrade() -> None:
    ops.drop_view("project_user_views")
    ops.drop_view("users_with_superadmin")
    ops.drop_view("user_group_views")
    ops.drop_view("group_resource_views")
    ops.drop_view("project_resource_views")
    ops.drop_view("project_group_views")
