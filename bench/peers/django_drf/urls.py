"""The routes."""

from django.urls import path

from bench.peers.django_drf import views

urlpatterns = [
    path("readyz", views.readyz),
    path("api/v1/forms", views.FormList.as_view()),
    path("api/v1/users/<str:u_id>/groups", views.GroupsOfUser.as_view()),
]
