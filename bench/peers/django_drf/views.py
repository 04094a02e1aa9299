"""The three endpoints."""

import secrets
from typing import Any

from django.db import transaction
from django.db.models import Prefetch, Q, QuerySet
from django.http import Http404, HttpRequest, JsonResponse
from django.utils import timezone
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response

from bench.peers.django_drf.models import AuditLog, Form, Membership, Message, Project, User
from bench.peers.django_drf.serializers import NewForm, ShownForm, ShownMembership


class FormList(generics.ListCreateAPIView):
    serializer_class = ShownForm

    def get_queryset(self) -> "QuerySet[Form]":
        user = self.request.user
        found = Form.objects.filter(deletion_id="")
        if _role_in(user, "super_group") != "admin":
            staffed = Membership.objects.filter(user=user, deletion_id="", role__in=("admin", "manager"))
            projects = Project.objects.filter(group__in=staffed.values("group_id"), deletion_id="")
            found = found.filter(Q(user=user) | Q(project__in=projects.values("p_id")))
        if (project_id := self.request.query_params.get("project_id")) is not None:
            found = found.filter(project_id=project_id)
        messages = Message.objects.filter(deletion_id="").select_related("user").order_by("created_at")
        return (
            found.select_related("user", "project")
            .prefetch_related(Prefetch("messages", messages, to_attr="live_messages"))
            .order_by("-created_at", "-id")
        )

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        new = NewForm(data=request.data)
        new.is_valid(raise_exception=True)
        form = _open_form(request, **new.validated_data)
        return Response(self.get_serializer(form).data, status=status.HTTP_201_CREATED)


class GroupsOfUser(generics.ListAPIView):
    serializer_class = ShownMembership

    def get_queryset(self) -> "QuerySet[Membership]":
        u_id = self.kwargs["u_id"]
        if u_id != self.request.user.u_id:
            raise Http404
        return (
            Membership.objects.filter(user_id=u_id, deletion_id="", group__deletion_id="")
            .select_related("group")
            .order_by("group__group_name", "group_id")
        )


def readyz(request: HttpRequest) -> JsonResponse:
    """Whether it serves."""
    return JsonResponse({"status": "ok"})


def _open_form(request: Request, *, project_id: str | None, message: str | None, **fields: Any) -> Form:
    user = request.user
    project = None
    if project_id is not None:
        project = Project.objects.filter(p_id=project_id, deletion_id="").first()
        if project is None or not _may_ask(user, project):
            raise Http404
    now = timezone.now()
    with transaction.atomic():
        form: Form = Form.objects.create(
            id=_new_id(), user=user, project=project, created_at=now, updated_at=now, **fields
        )
        form.live_messages = []
        if message is not None:
            written = Message.objects.create(id=_new_id(), form=form, user=user, content=message, created_at=now)
            form.live_messages.append(written)
        AuditLog.objects.create(
            user=user,
            actor_name=user.username,
            action="create",
            resource_type="form",
            resource_id=form.id,
            resource_label=form.title,
            g_id=None if project is None else project.group_id,
            new_data={**fields, "project_id": project_id, "message": message, "status": form.status},
            ip_address=request.META.get("REMOTE_ADDR"),
            user_agent=request.META.get("HTTP_USER_AGENT"),
            created_at=now,
        )
    return form


def _role_in(user: User, g_id: str) -> str | None:
    roles = Membership.objects.filter(user=user, group_id=g_id, deletion_id="").values_list("role", flat=True)
    return next(iter(roles), None)


def _may_ask(user: User, project: Project) -> bool:
    """The members of its group and super administrators."""
    return bool(_role_in(user, project.group_id)) or _role_in(user, "super_group") == "admin"


def _new_id() -> str:
    return secrets.token_urlsafe(16)[:21]
