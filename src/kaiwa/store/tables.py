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

SCHEMA = "0004"
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
    # The same of its citations.
    Column("citation_count", Integer, nullable=False, server_default="0"),
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

knowledge_bases = Table(
    "knowledge_bases",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("permission", Text, nullable=False),
    Column("indexing", Text, nullable=False),
    Column("embedding_provider", Text, nullable=False),
    Column("embedding_model", Text, nullable=False),
    # Of its vectors; null as long as there are none.
    Column("dimensions", Integer),
    # JSON, of which no query asks anything.
    Column("retrieval", Text, nullable=False),
    # Grows in each transaction that changes what is found in it.
    Column("version", Integer, nullable=False, server_default="0"),
    Column("created_at", MICROS, nullable=False),
    Column("updated_at", MICROS, nullable=False),
    Column("deleted_at", MICROS),
)
Index(
    "ux_knowledge_bases_name",
    knowledge_bases.c.workspace_id,
    knowledge_bases.c.name,
    unique=True,
    sqlite_where=knowledge_bases.c.deleted_at.is_(None),
    postgresql_where=knowledge_bases.c.deleted_at.is_(None),
)

knowledge_keys = Table(
    "knowledge_keys",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("created_at", MICROS, nullable=False),
    Column("revoked_at", MICROS),
    UniqueConstraint("digest"),
)

documents = Table(
    "documents",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("base_id", ID, ForeignKey("knowledge_bases.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("source", Text, nullable=False),
    # A file's path or a page's address: the same again is the same document.
    Column("origin", Text),
    Column("digest", LargeBinary, nullable=False),
    Column("key", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("extension", Text, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("batch", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("error", Text),
    Column("enabled", Boolean, nullable=False),
    Column("archived", Boolean, nullable=False),
    # That of the segments which are found; 0 as long as there are none.
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("tokens", Integer, nullable=False, server_default="0"),
    Column("words", Integer, nullable=False, server_default="0"),
    # Those being made, and how many of them are done.
    Column("segment_count", Integer, nullable=False, server_default="0"),
    Column("segments_done", Integer, nullable=False, server_default="0"),
    Column("hit_count", Integer, nullable=False, server_default="0"),
    # Who works on it, as for messages.
    Column("owner", ID),
    Column("heartbeat_at", MICROS),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", MICROS, nullable=False),
    Column("updated_at", MICROS, nullable=False),
    Column("started_at", MICROS),
    Column("parsed_at", MICROS),
    Column("split_at", MICROS),
    Column("completed_at", MICROS),
    Column("deleted_at", MICROS),
)
Index("ix_documents_base_id", documents.c.base_id, documents.c.position)
Index("ix_documents_origin", documents.c.base_id, documents.c.origin)
Index("ix_documents_batch", documents.c.base_id, documents.c.batch)
Index("ix_documents_key", documents.c.key)

# Written out for the same reason as `IS_RUNNING`.
IS_UNFINISHED = text("status IN ('waiting', 'parsing', 'splitting', 'indexing')")
"""The condition of the index over documents that are worked on or wait for it."""

Index(
    "ix_documents_unfinished",
    documents.c.created_at,
    sqlite_where=IS_UNFINISHED,
    postgresql_where=IS_UNFINISHED,
)

segments = Table(
    "segments",
    metadata,
    # A number, for what is in memory of a base knows its segments by one.
    Column(
        "number",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("id", ID, nullable=False),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("base_id", ID, ForeignKey("knowledge_bases.id"), nullable=False),
    Column("document_id", ID, ForeignKey("documents.id"), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("content", Text, nullable=False),
    Column("answer", Text, nullable=False),
    # JSON: a list of words.
    Column("keywords", Text, nullable=False),
    # The words it is found by, as `domain/terms.py` makes them, apart by spaces.
    Column("terms", Text, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("words", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("hit_count", Integer, nullable=False, server_default="0"),
    # A unit vector of half-precision floats, little-endian; null as long as it is not made.
    Column("embedding", LargeBinary),
    Column("created_at", MICROS, nullable=False),
    Column("updated_at", MICROS, nullable=False),
    UniqueConstraint("id"),
    sqlite_autoincrement=True,
)
Index("ix_segments_document_id", segments.c.document_id, segments.c.generation, segments.c.position)
# Holds all that a search asks of every segment of a base, so that their rows are not read.
Index(
    "ix_segments_base_id",
    segments.c.base_id,
    segments.c.number,
    segments.c.document_id,
    segments.c.generation,
    segments.c.enabled,
    segments.c.updated_at,
    segments.c.words,
)

citations = Table(
    "citations",
    metadata,
    Column("message_id", ID, ForeignKey("messages.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("workspace_id", ID, ForeignKey("workspaces.id"), nullable=False),
    Column("id", ID, nullable=False),
    Column("created_at", MICROS, nullable=False),
    # JSON, of which no query asks anything.
    Column("passage", Text, nullable=False),
)
