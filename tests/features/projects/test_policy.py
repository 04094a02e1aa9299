"""Who may do what with a project, as a table (conformance P-01, P-02)."""

import pytest

from holdfast.core.actor import Actor
from holdfast.features.projects import policy

ANYBODY = Actor(user_id="u", username="anybody")
SUPER_ADMIN = Actor(user_id="s", username="super", is_super_admin=True)


@pytest.mark.conformance("P-01", "P-02")
@pytest.mark.parametrize(
    ("actor", "role", "rights"),
    [
        (SUPER_ADMIN, None, "see create change grant"),
        (ANYBODY, "admin", "see create change"),
        (ANYBODY, "manager", "see change"),
        (ANYBODY, "user", "see"),
        (ANYBODY, None, ""),
    ],
)
def test_each_role_has_its_rights(actor: Actor, role: str | None, rights: str) -> None:
    held = {
        "see": policy.can_see(actor, role),
        "create": policy.can_create(actor, role),
        "change": policy.can_change(actor, role),
        "grant": policy.can_grant(actor, ["gpu_quota"]),
    }
    assert [right for right, has in held.items() if has] == rights.split()


def test_fields_that_grant_nothing_need_no_super_admin() -> None:
    assert policy.can_grant(ANYBODY, ["project_name", "description"])
    assert not policy.can_grant(ANYBODY, ["project_name", "allow_privileged"])
