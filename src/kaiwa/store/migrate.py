"""Brings a database to the newest schema; the one module that imports Alembic.

Loading it takes as long as all the rest of the store, so engines import it only when a database
is not at `tables.SCHEMA`.
"""

from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

# Alembic keeps the running migration in module globals.
_ONE_AT_A_TIME = Lock()


def configure(connection: Connection | None = None) -> Config:
    """Alembic's configuration, with no file behind it."""
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def knows_revision(revision: str) -> bool:
    """Whether `revision` is one of ours; else a newer Kaiwa wrote that database."""
    scripts = ScriptDirectory.from_config(configure()).walk_revisions()
    return any(script.revision == revision for script in scripts)


def upgrade(connection: Connection) -> None:
    """Run what is missing, inside the transaction that `connection` is already in."""
    with _ONE_AT_A_TIME:
        command.upgrade(configure(connection), "head")
