"""The token look-up of each request."""

import hashlib
from typing import Any

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

from bench.peers.django_drf.models import Token, User


class BearerToken(BaseAuthentication):
    """Resolves the user of a bearer token."""

    def authenticate(self, request: Any) -> tuple[User, Token]:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        digest = hashlib.sha256(header.removeprefix("Bearer ").encode()).hexdigest()
        token = (
            Token.objects.select_related("user")
            .filter(token_hash=digest, revoked_at=None, expires_at__gt=timezone.now(), user__deletion_id="")
            .first()
        )
        if token is None:
            raise AuthenticationFailed
        return token.user, token

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"
