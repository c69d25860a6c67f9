"""A folder of this machine as a store of objects.

obstore writes a file beside its place and renames it, but leaves it to the system when its bytes
reach the disk; here they are there before anyone hears that the file is kept.
"""

import os
import re
from datetime import datetime
from pathlib import Path
from typing import Final

from anyio import to_thread
from obstore.store import LocalStore

from kaiwa.errors import BlobsUnavailable
from kaiwa.providers.blobs.objects import Objects

_UNFINISHED: Final = re.compile(r".+#\d+")
"""How obstore names a file before it is renamed."""


class Folder(Objects):
    """The files below `root`, which has to be there."""

    part = 512 * 1024

    def __init__(self, root: Path) -> None:
        """Raises `OSError` when it is not."""
        self._root = root.resolve(strict=True)
        super().__init__(LocalStore(self._root, automatic_cleanup=True))

    async def tidy(self, before: datetime) -> int:
        return await to_thread.run_sync(_remove_unfinished, self._root, before.timestamp())

    async def _look(self) -> None:
        # obstore would make it anew, below the place where a disk is not mounted.
        if not await to_thread.run_sync(self._root.is_dir):
            raise BlobsUnavailable("The folder of the file storage is not there.")

    async def _settle(self, key: str) -> None:
        await to_thread.run_sync(_sync, self._root, key)


def _sync(root: Path, key: str) -> None:
    """The file, and the folders above it, of which any may be new."""
    path = root / key
    while True:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
        if path == root:
            return
        path = path.parent


def _remove_unfinished(root: Path, before: float) -> int:
    removed = 0
    for folder, _, names in os.walk(root):
        for name in filter(_UNFINISHED.fullmatch, names):
            path = Path(folder, name)
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed
