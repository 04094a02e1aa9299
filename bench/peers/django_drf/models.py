"""The product's tables. They have more columns, which have defaults or are not asked for."""

from typing import ClassVar

from django.db import models


class User(models.Model):
    u_id = models.CharField(max_length=20, primary_key=True)
    username = models.CharField(max_length=50)
    full_name = models.CharField(max_length=100, null=True)
    deletion_id = models.CharField(max_length=21, default="")

    class Meta:
        managed = False
        db_table = "users"

    is_authenticated: ClassVar[bool] = True


class Token(models.Model):
    id = models.CharField(max_length=21, primary_key=True)
    user = models.ForeignKey(User, models.DO_NOTHING, db_column="user_id")
    token_hash = models.CharField(max_length=64)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "tokens"


class Group(models.Model):
    g_id = models.CharField(max_length=20, primary_key=True)
    group_name = models.CharField(max_length=100)
    description = models.TextField(null=True)
    deletion_id = models.CharField(max_length=21, default="")

    class Meta:
        managed = False
        db_table = "group_list"


class Membership(models.Model):
    pk = models.CompositePrimaryKey("user_id", "group_id")
    user = models.ForeignKey(User, models.DO_NOTHING, db_column="u_id", related_name="memberships")
    group = models.ForeignKey(Group, models.DO_NOTHING, db_column="g_id", related_name="memberships")
    role = models.CharField(max_length=20)
    created_at = models.DateTimeField()
    deletion_id = models.CharField(max_length=21, default="")

    class Meta:
        managed = False
        db_table = "user_group"


class Project(models.Model):
    p_id = models.CharField(max_length=20, primary_key=True)
    group = models.ForeignKey(Group, models.DO_NOTHING, db_column="g_id", related_name="projects")
    project_name = models.CharField(max_length=100)
    deletion_id = models.CharField(max_length=21, default="")

    class Meta:
        managed = False
        db_table = "project_list"


class Form(models.Model):
    id = models.CharField(max_length=21, primary_key=True)
    user = models.ForeignKey(User, models.DO_NOTHING, db_column="user_id", related_name="forms")
    project = models.ForeignKey(Project, models.DO_NOTHING, db_column="project_id", null=True, related_name="forms")
    title = models.CharField(max_length=255)
    description = models.TextField(null=True)
    tag = models.CharField(max_length=100, null=True)
    status = models.CharField(max_length=20, default="Pending")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deletion_id = models.CharField(max_length=21, default="")

    class Meta:
        managed = False
        db_table = "forms"


class Message(models.Model):
    id = models.CharField(max_length=21, primary_key=True)
    form = models.ForeignKey(Form, models.DO_NOTHING, db_column="form_id", related_name="messages")
    user = models.ForeignKey(User, models.DO_NOTHING, db_column="user_id", related_name="messages")
    content = models.TextField()
    created_at = models.DateTimeField()
    deletion_id = models.CharField(max_length=21, default="")

    class Meta:
        managed = False
        db_table = "form_messages"


class AuditLog(models.Model):
    user = models.ForeignKey(User, models.DO_NOTHING, db_column="user_id", related_name="+")
    actor_name = models.CharField(max_length=50)
    action = models.CharField(max_length=50)
    resource_type = models.CharField(max_length=50)
    resource_id = models.CharField(max_length=255)
    resource_label = models.CharField(max_length=255, null=True)
    g_id = models.CharField(max_length=20, null=True)
    new_data = models.JSONField(null=True)
    ip_address = models.CharField(max_length=45, null=True)
    user_agent = models.TextField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "audit_logs"
