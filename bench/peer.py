"""The peer of P1s: the same reads as FastAPI and the SQLAlchemy ORM are usually written, on the same SQLite file.

An async session for each request, eager loading with `selectinload`, pydantic response models, a token look-up as a
dependency, one uvicorn process with uvloop and httptools. `python -m bench.peer`.
"""

import hashlib
import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, event, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship, selectinload


class Base(DeclarativeBase):
    """All models; every table of the benchmark can be deleted softly."""


class User(Base):
    __tablename__ = "users"
    u_id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str]
    full_name: Mapped[str | None]
    email: Mapped[str | None]
    deletion_id: Mapped[str]
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
    deletion_id: Mapped[str]


class Membership(Base):
    __tablename__ = "user_group"
    u_id: Mapped[str] = mapped_column(ForeignKey("users.u_id"), primary_key=True)
    g_id: Mapped[str] = mapped_column(ForeignKey("group_list.g_id"), primary_key=True)
    role: Mapped[str]
    created_at: Mapped[datetime]
    deletion_id: Mapped[str]
    user: Mapped[User] = relationship(back_populates="memberships")
    group: Mapped[Group] = relationship()


class Project(Base):
    __tablename__ = "project_list"
    p_id: Mapped[str] = mapped_column(primary_key=True)
    g_id: Mapped[str] = mapped_column(ForeignKey("group_list.g_id"))
    project_name: Mapped[str]
    deletion_id: Mapped[str]


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
    deletion_id: Mapped[str]
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
    deletion_id: Mapped[str]
    user: Mapped[User] = relationship()


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


engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ.get('BENCH_PEER_DATABASE', ':memory:')}")
new_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


@event.listens_for(engine.sync_engine, "connect")
def _prepare(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -16000")
    cursor.close()


async def session() -> AsyncIterator[AsyncSession]:
    """A session for one request."""
    async with new_session() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def current_user(opened: Session, authorization: Annotated[str, Header()]) -> User:
    """The user of the bearer token."""
    digest = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).hexdigest()
    query = select(Token).options(joinedload(Token.user)).where(Token.token_hash == digest, Token.revoked_at.is_(None))
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
    is_super = await opened.scalar(
        select(Membership.role).where(Membership.u_id == user.u_id, Membership.g_id == "super_group")
    )
    if is_super != "admin":
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
        .order_by(Membership.created_at)
        .offset((page - 1) * limit)
        .limit(limit)
    )
    memberships = (await opened.scalars(query)).all()
    items = [ShownMembership.model_validate(membership) for membership in memberships]
    return GroupPage(items=items, total=total or 0, page=page, limit=limit)


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
