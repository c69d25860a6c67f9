"""The tables a chat needs: apps and their keys, end users, conversations, messages."""

from uuid import UUID

import sqlalchemy as sa
from alembic import op

from kaiwa.store.columns import ID, INPUTS, MICROS, MONEY, OUTCOME

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From an empty database."""
    _create_workspaces()
    _create_apps()
    _create_end_users()
    _create_conversations()
    _create_messages()
    _create_rounds()
    _create_feedback()


def _workspace() -> sa.Column[UUID]:
    return sa.Column("workspace_id", ID, nullable=False)


def _refer(table: str, **columns: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")
        for column, target in {"workspace_id": "workspaces.id", **columns}.items()
    ]


def _create_workspaces() -> None:
    workspaces = op.create_table(
        "workspaces",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workspaces"),
    )
    first = UUID("00000000-0000-7000-8000-000000000001")
    op.bulk_insert(workspaces, [{"id": first, "name": "Default"}])


def _create_apps() -> None:
    op.create_table(
        "apps",
        sa.Column("id", ID, nullable=False),
        _workspace(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("site", sa.Text, nullable=False),
        sa.Column("api_enabled", sa.Boolean, nullable=False),
        sa.Column("config_id", ID, nullable=False),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("updated_at", MICROS, nullable=False),
        sa.Column("deleted_at", MICROS),
        sa.PrimaryKeyConstraint("id", name="pk_apps"),
        *_refer("apps"),
    )
    op.create_table(
        "app_configs",
        sa.Column("id", ID, nullable=False),
        _workspace(),
        sa.Column("app_id", ID, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("created_at", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_app_configs"),
        sa.UniqueConstraint("app_id", "version", name="uq_app_configs_app_id_version"),
        *_refer("app_configs", app_id="apps.id"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", ID, nullable=False),
        _workspace(),
        sa.Column("app_id", ID, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("revoked_at", MICROS),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
        *_refer("api_keys", app_id="apps.id"),
    )


def _create_end_users() -> None:
    op.create_table(
        "end_users",
        sa.Column("id", ID, nullable=False),
        _workspace(),
        sa.Column("app_id", ID, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_end_users"),
        sa.UniqueConstraint(
            "app_id",
            "source",
            "name",
            "workspace_id",
            name="uq_end_users_app_id_source_name_workspace_id",
        ),
        *_refer("end_users", app_id="apps.id"),
    )


def _create_conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", ID, nullable=False),
        _workspace(),
        sa.Column("app_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("config_id", ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("inputs", INPUTS, nullable=False),
        sa.Column("introduction", sa.Text, nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("updated_at", MICROS, nullable=False),
        sa.Column("deleted_at", MICROS),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
        *_refer(
            "conversations",
            app_id="apps.id",
            user_id="end_users.id",
            config_id="app_configs.id",
        ),
    )
    for moment in ("created_at", "updated_at"):
        _index_some(
            f"ix_conversations_live_{moment}",
            "conversations",
            ["app_id", "user_id", moment, "id"],
            "deleted_at IS NULL",
        )
    _index_some(
        "ix_conversations_deleted", "conversations", ["deleted_at"], "deleted_at IS NOT NULL"
    )


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", ID, nullable=False),
        _workspace(),
        sa.Column("app_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("config_id", ID, nullable=False),
        sa.Column("key_id", ID),
        sa.Column("parent_id", ID),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("inputs", INPUTS, nullable=False),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("reasoning", sa.Text, nullable=False),
        sa.Column("outcome", OUTCOME, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("owner", ID, nullable=False),
        sa.Column("heartbeat_at", MICROS, nullable=False),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("finished_at", MICROS),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.UniqueConstraint(
            "conversation_id", "position", name="uq_messages_conversation_id_position"
        ),
        *_refer(
            "messages",
            app_id="apps.id",
            user_id="end_users.id",
            conversation_id="conversations.id",
            config_id="app_configs.id",
            key_id="api_keys.id",
        ),
    )
    _index_some("ix_messages_running", "messages", ["owner"], "outcome = 'running'")


def _create_rounds() -> None:
    op.create_table(
        "rounds",
        sa.Column("message_id", ID, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        _workspace(),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("completion_tokens", sa.Integer, nullable=False),
        sa.Column("prompt_unit_price", MONEY),
        sa.Column("completion_unit_price", MONEY),
        sa.Column("price_unit", MONEY),
        sa.Column("prompt_price", MONEY, nullable=False),
        sa.Column("completion_price", MONEY, nullable=False),
        sa.Column("currency", sa.Text),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("latency", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("message_id", "position", name="pk_rounds"),
        *_refer("rounds", message_id="messages.id"),
    )


def _create_feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", ID, nullable=False),
        _workspace(),
        sa.Column("app_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("rating", sa.Text, nullable=False),
        sa.Column("content", sa.Text),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("updated_at", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
        sa.UniqueConstraint("message_id", "source", name="uq_feedback_message_id_source"),
        *_refer("feedback", app_id="apps.id", user_id="end_users.id", message_id="messages.id"),
    )


def _index_some(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
