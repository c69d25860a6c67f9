"""The tables, as the newest migration leaves them.

Whatever belongs to a workspace carries its id. Rows an end user made are reached through that
user's app and name alone; `deleted_at` hides a row until it is purged.
"""

from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from kaiwa.store.columns import ID, INPUTS, MICROS, MONEY, OUTCOME

SCHEMA = "0003"
"""The newest revision in `migrations/versions`."""

DEFAULT_WORKSPACE = UUID("00000000-0000-7000-8000-000000000001")
"""The workspace every database begins with."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", Text, nullable=False),
)

apps = Table(
    "apps",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("api_enabled", Boolean, nullable=False),
    # The current version; no foreign key, for each of the two rows would have to come first.
    Column("config_id", ID, nullable=False),
    Column("created_at", MICROS, nullable=False),
    Column("updated_at", MICROS, nullable=False),
    Column("deleted_at", MICROS),
)

app_configs = Table(
    "app_configs",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("app_id", ID, ForeignKey("apps.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("config", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", MICROS, nullable=False),
    UniqueConstraint("app_id", "version"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("app_id", ID, ForeignKey("apps.id"), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("created_at", MICROS, nullable=False),
    Column("revoked_at", MICROS),
    UniqueConstraint("digest"),
)

end_users = Table(
    "end_users",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("app_id", ID, ForeignKey("apps.id"), nullable=False),
    Column("source", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", MICROS, nullable=False),
    # The workspace stands last because every look-up knows the app, which implies it.
    UniqueConstraint("app_id", "source", "name", "workspace_id"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("app_id", ID, ForeignKey("apps.id"), nullable=False),
    Column("user_id", ID, ForeignKey("end_users.id"), nullable=False),
    Column("config_id", ID, ForeignKey("app_configs.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("inputs", INPUTS, nullable=False),
    Column("introduction", Text, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("created_at", MICROS, nullable=False),
    Column("updated_at", MICROS, nullable=False),
    Column("deleted_at", MICROS),
)
for _moment in ("created_at", "updated_at"):
    Index(
        f"ix_conversations_live_{_moment}",
        conversations.c.app_id,
        conversations.c.user_id,
        conversations.c[_moment],
        conversations.c.id,
        sqlite_where=conversations.c.deleted_at.is_(None),
        postgresql_where=conversations.c.deleted_at.is_(None),
    )
Index(
    "ix_conversations_deleted",
    conversations.c.deleted_at,
    sqlite_where=conversations.c.deleted_at.is_not(None),
    postgresql_where=conversations.c.deleted_at.is_not(None),
)

messages = Table(
    "messages",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("app_id", ID, ForeignKey("apps.id"), nullable=False),
    Column("user_id", ID, ForeignKey("end_users.id"), nullable=False),
    Column("conversation_id", ID, ForeignKey("conversations.id"), nullable=False),
    Column("config_id", ID, ForeignKey("app_configs.id"), nullable=False),
    Column("key_id", ID, ForeignKey("api_keys.id")),
    # No foreign key: checking it would need one more index, only for purging.
    Column("parent_id", ID),
    Column("position", Integer, nullable=False),
    Column("inputs", INPUTS, nullable=False),
    Column("query", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("reasoning", Text, nullable=False),
    Column("outcome", OUTCOME, nullable=False),
    Column("error_code", Text),
    Column("error", Text),
    Column("owner", ID, nullable=False),
    Column("heartbeat_at", MICROS, nullable=False),
    Column("created_at", MICROS, nullable=False),
    Column("finished_at", MICROS),
    # Most messages have no files, and need not be asked for them.
    Column("file_count", Integer, nullable=False, server_default="0"),
    # The same of an agent's thoughts.
    Column("thought_count", Integer, nullable=False, server_default="0"),
    UniqueConstraint("conversation_id", "position"),
)

# Written out, not bound: an engine uses the partial index only for the literal condition.
IS_RUNNING = text("outcome = 'running'")
"""The condition of the index over running messages."""

Index(
    "ix_messages_running",
    messages.c.owner,
    sqlite_where=IS_RUNNING,
    postgresql_where=IS_RUNNING,
)

rounds = Table(
    "rounds",
    metadata,
    Column("message_id", ID, ForeignKey("messages.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("prompt_unit_price", MONEY),
    Column("completion_unit_price", MONEY),
    Column("price_unit", MONEY),
    Column("prompt_price", MONEY, nullable=False),
    Column("completion_price", MONEY, nullable=False),
    Column("currency", Text),
    Column("estimated", Boolean, nullable=False),
    Column("latency", Float, nullable=False),
)

thoughts = Table(
    "thoughts",
    metadata,
    Column("message_id", ID, ForeignKey("messages.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("id", ID, nullable=False),
    Column("created_at", MICROS, nullable=False),
    Column("text", Text, nullable=False),
    # JSON, of which no query asks anything.
    Column("calls", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("files", Text, nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("app_id", ID, ForeignKey("apps.id"), nullable=False),
    Column("user_id", ID, ForeignKey("end_users.id"), nullable=False),
    Column("message_id", ID, ForeignKey("messages.id"), nullable=False),
    Column("source", Text, nullable=False),
    Column("rating", Text, nullable=False),
    Column("content", Text),
    Column("created_at", MICROS, nullable=False),
    Column("updated_at", MICROS, nullable=False),
    UniqueConstraint("message_id", "source"),
)

upload_files = Table(
    "upload_files",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("app_id", ID, ForeignKey("apps.id"), nullable=False),
    Column("user_id", ID, ForeignKey("end_users.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("extension", Text, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("source_url", Text),
    Column("created_at", MICROS, nullable=False),
    # When a message last took it; what none has taken is swept away.
    Column("used_at", MICROS),
    UniqueConstraint("key"),
)
Index(
    "ix_upload_files_unused",
    upload_files.c.created_at,
    sqlite_where=upload_files.c.used_at.is_(None),
    postgresql_where=upload_files.c.used_at.is_(None),
)

message_files = Table(
    "message_files",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("message_id", ID, ForeignKey("messages.id"), nullable=False),
    Column("file_id", ID, ForeignKey("upload_files.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("belongs_to", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("url", Text),
    UniqueConstraint("message_id", "position"),
)
Index("ix_message_files_file_id", message_files.c.file_id)
