"""Knowledge bases: their keys, documents and segments, how they are searched, and citations."""

import sqlalchemy as sa
from alembic import op

from kaiwa.store.columns import ID, MICROS

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_UNFINISHED = sa.text("status IN ('waiting', 'parsing', 'splitting', 'indexing')")
_LIVE = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    """Messages that are there cite nothing."""
    op.add_column(
        "messages", sa.Column("citation_count", sa.Integer, nullable=False, server_default="0")
    )
    _create_bases()
    _create_documents()
    _create_segments()
    op.create_table(
        "citations",
        sa.Column("message_id", ID, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("passage", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("message_id", "position", name="pk_citations"),
        _refers("citations", "message_id", "messages"),
        _refers("citations", "workspace_id", "workspaces"),
    )


def _refers(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=f"fk_{table}_{column}")


def _create_bases() -> None:
    op.create_table(
        "knowledge_bases",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("permission", sa.Text, nullable=False),
        sa.Column("indexing", sa.Text, nullable=False),
        sa.Column("embedding_provider", sa.Text, nullable=False),
        sa.Column("embedding_model", sa.Text, nullable=False),
        sa.Column("dimensions", sa.Integer),
        sa.Column("retrieval", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("updated_at", MICROS, nullable=False),
        sa.Column("deleted_at", MICROS),
        sa.PrimaryKeyConstraint("id", name="pk_knowledge_bases"),
        _refers("knowledge_bases", "workspace_id", "workspaces"),
    )
    op.create_index(
        "ux_knowledge_bases_name",
        "knowledge_bases",
        ["workspace_id", "name"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.create_table(
        "knowledge_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("revoked_at", MICROS),
        sa.PrimaryKeyConstraint("id", name="pk_knowledge_keys"),
        sa.UniqueConstraint("digest", name="uq_knowledge_keys_digest"),
        _refers("knowledge_keys", "workspace_id", "workspaces"),
    )


def _create_documents() -> None:
    op.create_table(
        "documents",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("base_id", ID, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("origin", sa.Text),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("extension", sa.Text, nullable=False),
        sa.Column("mime_type", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("batch", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("archived", sa.Boolean, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
        sa.Column("tokens", sa.Integer, nullable=False, server_default="0"),
        sa.Column("words", sa.Integer, nullable=False, server_default="0"),
        sa.Column("segment_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("segments_done", sa.Integer, nullable=False, server_default="0"),
        sa.Column("hit_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("owner", ID),
        sa.Column("heartbeat_at", MICROS),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("updated_at", MICROS, nullable=False),
        sa.Column("started_at", MICROS),
        sa.Column("parsed_at", MICROS),
        sa.Column("split_at", MICROS),
        sa.Column("completed_at", MICROS),
        sa.Column("deleted_at", MICROS),
        sa.PrimaryKeyConstraint("id", name="pk_documents"),
        _refers("documents", "workspace_id", "workspaces"),
        _refers("documents", "base_id", "knowledge_bases"),
    )
    op.create_index("ix_documents_base_id", "documents", ["base_id", "position"])
    op.create_index("ix_documents_origin", "documents", ["base_id", "origin"])
    op.create_index("ix_documents_batch", "documents", ["base_id", "batch"])
    op.create_index("ix_documents_key", "documents", ["key"])
    op.create_index(
        "ix_documents_unfinished",
        "documents",
        ["created_at"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )


def _create_segments() -> None:
    op.create_table(
        "segments",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("base_id", ID, nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("keywords", sa.Text, nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("words", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("hit_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("embedding", sa.LargeBinary),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("updated_at", MICROS, nullable=False),
        sa.UniqueConstraint("id", name="uq_segments_id"),
        _refers("segments", "workspace_id", "workspaces"),
        _refers("segments", "base_id", "knowledge_bases"),
        _refers("segments", "document_id", "documents"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_segments_document_id", "segments", ["document_id", "generation", "position"]
    )
    op.create_index(
        "ix_segments_base_id",
        "segments",
        [
            "base_id",
            "number",
            "document_id",
            "generation",
            "enabled",
            "updated_at",
            "words",
        ],
    )
