"""Files: what was uploaded or fetched, and in which messages it is."""

import sqlalchemy as sa
from alembic import op

from kaiwa.store.columns import ID, MICROS

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Messages that are there have no files."""
    op.add_column(
        "messages", sa.Column("file_count", sa.Integer, nullable=False, server_default="0")
    )
    _create_upload_files()
    _create_message_files()


def _refer(table: str, **columns: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")
        for column, target in {"workspace_id": "workspaces.id", **columns}.items()
    ]


def _create_upload_files() -> None:
    op.create_table(
        "upload_files",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("app_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("extension", sa.Text, nullable=False),
        sa.Column("mime_type", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("source_url", sa.Text),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("used_at", MICROS),
        sa.PrimaryKeyConstraint("id", name="pk_upload_files"),
        sa.UniqueConstraint("key", name="uq_upload_files_key"),
        *_refer("upload_files", app_id="apps.id", user_id="end_users.id"),
    )
    where = sa.text("used_at IS NULL")
    op.create_index(
        "ix_upload_files_unused",
        "upload_files",
        ["created_at"],
        sqlite_where=where,
        postgresql_where=where,
    )


def _create_message_files() -> None:
    op.create_table(
        "message_files",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("file_id", ID, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("belongs_to", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("url", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_message_files"),
        sa.UniqueConstraint("message_id", "position", name="uq_message_files_message_id_position"),
        *_refer("message_files", message_id="messages.id", file_id="upload_files.id"),
    )
    op.create_index("ix_message_files_file_id", "message_files", ["file_id"])
