"""Agents: what they thought, called and heard, round by round."""

import sqlalchemy as sa
from alembic import op

from kaiwa.store.columns import ID, MICROS

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Messages that are there have no thoughts."""
    op.add_column(
        "messages", sa.Column("thought_count", sa.Integer, nullable=False, server_default="0")
    )
    op.create_table(
        "thoughts",
        sa.Column("message_id", ID, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", MICROS, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("calls", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("files", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("message_id", "position", name="pk_thoughts"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_thoughts_workspace_id"
        ),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name="fk_thoughts_message_id"),
    )
