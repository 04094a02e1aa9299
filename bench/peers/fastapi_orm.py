"""FastAPI and the SQLAlchemy ORM: the peer of P1s on SQLite, and one of the peers on all engines.

An async session for each request, eager loading with `selectinload`, pydantic models, a token look-up as a dependency,
one uvicorn process with uvloop and httptools; aiosqlite, asyncpg and asyncmy. `python -m bench.peers.fastapi_orm`.
"""

import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Integer, event, func, or_, select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship, selectinload

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mariadb": "mariadb+asyncmy"}
# As many as the load has connections by default, so that none is opened and closed again under it.
_DATABASE_CONNECTIONS = 16


class Base(DeclarativeBase):
    """All models; the tables of the product have more columns, which have defaults or are not asked for."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: DateTime(timezone=True), dict[str, Any]: JSON()}


class User(Base):
    __tablename__ = "users"
    u_id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str]
    full_name: Mapped[str | None]
    email: Mapped[str | None]
    deletion_id: Mapped[str] = mapped_column(default="")
    memberships: Mapped[list["Membership"]] = relationship(back_populates="user")


class Token(Base):
    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.u_id"))
    token_hash: Mapped[str]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    user: Mapped[User] = relationship()


class Group(Base):
    __tablename__ = "group_list"
    g_id: Mapped[str] = mapped_column(primary_key=True)
    group_name: Mapped[str]
    description: Mapped[str | None]
    deletion_id: Mapped[str] = mapped_column(default="")


class Membership(Base):
    __tablename__ = "user_group"
    u_id: Mapped[str] = mapped_column(ForeignKey("users.u_id"), primary_key=True)
    g_id: Mapped[str] = mapped_column(ForeignKey("group_list.g_id"), primary_key=True)
    role: Mapped[str]
    created_at: Mapped[datetime]
    deletion_id: Mapped[str] = mapped_column(default="")
    user: Mapped[User] = relationship(back_populates="memberships")
    group: Mapped[Group] = relationship()


class Project(Base):
    __tablename__ = "project_list"
    p_id: Mapped[str] = mapped_column(primary_key=True)
    g_id: Mapped[str] = mapped_column(ForeignKey("group_list.g_id"))
    project_name: Mapped[str]
    deletion_id: Mapped[str] = mapped_column(default="")


class Form(Base):
    __tablename__ = "forms"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.u_id"))
    project_id: Mapped[str | None] = mapped_column(ForeignKey("project_list.p_id"))
    title: Mapped[str]
    description: Mapped[str | None]
    tag: Mapped[str | None]
    status: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deletion_id: Mapped[str] = mapped_column(default="")
    user: Mapped[User] = relationship()
    project: Mapped[Project | None] = relationship()
    messages: Mapped[list["Message"]] = relationship(order_by="Message.created_at")


class Message(Base):
    __tablename__ = "form_messages"
    id: Mapped[str] = mapped_column(primary_key=True)
    form_id: Mapped[str] = mapped_column(ForeignKey("forms.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.u_id"))
    content: Mapped[str]
    created_at: Mapped[datetime]
    deletion_id: Mapped[str] = mapped_column(default="")
    user: Mapped[User] = relationship()


class AuditLog(Base):
    __tablename__ = "audit_logs"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.u_id"))
    actor_name: Mapped[str]
    action: Mapped[str]
    resource_type: Mapped[str]
    resource_id: Mapped[str]
    resource_label: Mapped[str | None]
    g_id: Mapped[str | None]
    new_data: Mapped[dict[str, Any]]
    ip_address: Mapped[str | None]
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime]


class NewForm(BaseModel):
    title: Annotated[str, Field(min_length=1, max_length=255)]
    description: Annotated[str | None, Field(max_length=10_000)] = None
    project_id: Annotated[str | None, Field(max_length=20)] = None
    tag: Annotated[str | None, Field(max_length=100)] = None
    message: Annotated[str | None, Field(min_length=1, max_length=10_000)] = None


class Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ShownUser(Shown):
    u_id: str
    username: str
    full_name: str | None


class ShownMessage(Shown):
    id: str
    form_id: str
    content: str
    created_at: datetime
    user: ShownUser


class ShownProject(Shown):
    p_id: str
    project_name: str


class ShownForm(Shown):
    id: str
    title: str
    description: str | None
    tag: str | None
    status: str
    created_at: datetime
    updated_at: datetime
    user: ShownUser
    project: ShownProject | None
    messages: list[ShownMessage]


class FormPage(BaseModel):
    items: list[ShownForm]
    total: int
    page: int
    limit: int


class ShownGroup(Shown):
    g_id: str
    group_name: str
    description: str | None


class ShownMembership(Shown):
    role: str
    created_at: datetime
    group: ShownGroup


class GroupPage(BaseModel):
    items: list[ShownMembership]
    total: int
    page: int
    limit: int


_url = make_url(os.environ["BENCH_PEER_DATABASE"])
engine = create_async_engine(
    _url.set(drivername=_DRIVERS[_url.get_backend_name()]), pool_size=_DATABASE_CONNECTIONS, max_overflow=0
)
new_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


if engine.dialect.name == "sqlite":

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA cache_size = -4000")
        # Writers wait for each other; the default gives up after five seconds.
        cursor.execute("PRAGMA busy_timeout = 30000")
        cursor.close()


async def session() -> AsyncIterator[AsyncSession]:
    """A session for one request."""
    async with new_session() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def current_user(opened: Session, authorization: Annotated[str, Header()]) -> User:
    """The user of the bearer token."""
    digest = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).hexdigest()
    query = (
        select(Token)
        .options(joinedload(Token.user))
        .where(Token.token_hash == digest, Token.revoked_at.is_(None), Token.expires_at > datetime.now(UTC))
    )
    token = await opened.scalar(query)
    if token is None or token.user.deletion_id:
        raise HTTPException(401)
    return token.user


CurrentUser = Annotated[User, Depends(current_user)]


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/api/v1/forms")
async def list_forms(
    opened: Session,
    user: CurrentUser,
    project_id: str | None = None,
    page: Annotated[int, Query(ge=1)] = 1,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> FormPage:
    conditions = [Form.deletion_id == ""]
    if await role_in(opened, user, "super_group") != "admin":
        staffed = select(Membership.g_id).where(
            Membership.u_id == user.u_id, Membership.deletion_id == "", Membership.role.in_(("admin", "manager"))
        )
        projects = select(Project.p_id).where(Project.g_id.in_(staffed), Project.deletion_id == "")
        conditions.append(or_(Form.user_id == user.u_id, Form.project_id.in_(projects)))
    if project_id is not None:
        conditions.append(Form.project_id == project_id)
    total = await opened.scalar(select(func.count()).select_from(Form).where(*conditions))
    query = (
        select(Form)
        .where(*conditions)
        .options(
            joinedload(Form.user),
            joinedload(Form.project),
            selectinload(Form.messages.and_(Message.deletion_id == "")).joinedload(Message.user),
        )
        .order_by(Form.created_at.desc(), Form.id.desc())
        .offset((page - 1) * limit)
        .limit(limit)
    )
    forms = (await opened.scalars(query)).all()
    items = [ShownForm.model_validate(form) for form in forms]
    return FormPage(items=items, total=total or 0, page=page, limit=limit)


@app.post("/api/v1/forms", status_code=201)
async def open_form(opened: Session, user: CurrentUser, request: Request, new: NewForm) -> ShownForm:
    project = None
    if new.project_id is not None:
        project = await opened.scalar(select(Project).where(Project.p_id == new.project_id, Project.deletion_id == ""))
        if project is None or not await may_ask(opened, user, project):
            raise HTTPException(404)
    now = datetime.now(UTC)
    fields = new.model_dump(exclude={"message"})
    form = Form(id=new_id(), user=user, project=project, status="Pending", created_at=now, updated_at=now, **fields)
    form.messages = []
    if new.message is not None:
        form.messages.append(Message(id=new_id(), user=user, content=new.message, created_at=now))
    entry = AuditLog(
        user_id=user.u_id,
        actor_name=user.username,
        action="create",
        resource_type="form",
        resource_id=form.id,
        resource_label=form.title,
        g_id=None if project is None else project.g_id,
        new_data={**new.model_dump(), "status": form.status},
        ip_address=None if request.client is None else request.client.host,
        user_agent=request.headers.get("user-agent"),
        created_at=now,
    )
    opened.add_all((form, entry))
    await opened.commit()
    return ShownForm.model_validate(form)


@app.get("/api/v1/users/{u_id}/groups")
async def list_groups(
    opened: Session,
    user: CurrentUser,
    u_id: str,
    page: Annotated[int, Query(ge=1)] = 1,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> GroupPage:
    if user.u_id != u_id:
        raise HTTPException(404)
    conditions = [Membership.u_id == u_id, Membership.deletion_id == "", Group.deletion_id == ""]
    joined = select(Membership).join(Membership.group).where(*conditions)
    total = await opened.scalar(select(func.count()).select_from(joined.subquery()))
    query = (
        joined.options(selectinload(Membership.group))
        .order_by(Group.group_name, Group.g_id)
        .offset((page - 1) * limit)
        .limit(limit)
    )
    memberships = (await opened.scalars(query)).all()
    items = [ShownMembership.model_validate(membership) for membership in memberships]
    return GroupPage(items=items, total=total or 0, page=page, limit=limit)


async def role_in(opened: AsyncSession, user: User, g_id: str) -> str | None:
    """The role of a user in a group."""
    return await opened.scalar(
        select(Membership.role).where(
            Membership.u_id == user.u_id, Membership.g_id == g_id, Membership.deletion_id == ""
        )
    )


async def may_ask(opened: AsyncSession, user: User, project: Project) -> bool:
    """Whether a user may open forms of a project: the members of its group and super administrators."""
    return bool(await role_in(opened, user, project.g_id)) or await role_in(opened, user, "super_group") == "admin"


def new_id() -> str:
    """An id for a row."""
    return secrets.token_urlsafe(16)[:21]


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["HOLDFAST_PORT"]),
        log_level="warning",
        access_log=False,
        loop="uvloop",
        http="httptools",
    )
