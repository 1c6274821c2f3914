"""A folder that is made once and then read by every training that needs the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def prepared_folder(folder: Path, prepare: Callable[[Path], None]) -> Path:
    """The folder, made if it is not there yet; whole or not at all, also when several processes want it at once.

    Args:
        folder: whose name tells everything that its content depends on.
        prepare: writes the content into the folder that it is called with.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
        try:
            prepare(part)
            part.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process has not been faster
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder
