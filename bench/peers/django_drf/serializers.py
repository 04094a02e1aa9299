"""What is shown, and what may be sent."""

from rest_framework import serializers

from bench.peers.django_drf.models import Form, Group, Membership, Message, Project, User


class ShownUser(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ("u_id", "username", "full_name")


class ShownMessage(serializers.ModelSerializer):
    user = ShownUser()

    class Meta:
        model = Message
        fields = ("id", "form_id", "content", "created_at", "user")


class ShownProject(serializers.ModelSerializer):
    class Meta:
        model = Project
        fields = ("p_id", "project_name")


class ShownForm(serializers.ModelSerializer):
    user = ShownUser()
    project = ShownProject()
    messages = ShownMessage(many=True, source="live_messages")

    class Meta:
        model = Form
        fields = (
            "id",
            "title",
            "description",
            "tag",
            "status",
            "created_at",
            "updated_at",
            "user",
            "project",
            "messages",
        )


class ShownGroup(serializers.ModelSerializer):
    class Meta:
        model = Group
        fields = ("g_id", "group_name", "description")


class ShownMembership(serializers.ModelSerializer):
    group = ShownGroup()

    class Meta:
        model = Membership
        fields = ("role", "created_at", "group")


class NewForm(serializers.Serializer):
    title = serializers.CharField(max_length=255)
    description = serializers.CharField(max_length=10_000, allow_null=True, default=None)
    project_id = serializers.CharField(max_length=20, allow_null=True, default=None)
    tag = serializers.CharField(max_length=100, allow_null=True, default=None)
    message = serializers.CharField(max_length=10_000, allow_null=True, default=None)
