"""Keeping an alert's pictures in a directory: all of it or nothing, readable by the owner only.

For demos and for looking closely; evidence is kept by the inbox, which this is not.
"""

import json
import shutil
import tempfile
from pathlib import Path

from lfr_edge.control_room.display import fields
from lfr_edge.control_room.watch import ReceivedAlert
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import new_file, sync_folder


def prepare(directory: Path) -> None:
    """Make the directory, so that a mistake shows before the first alert."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot(directory, error) from error


def save(received: ReceivedAlert, directory: Path) -> Path:
    """Write `<alert id>/alert.json, sample.jpg, reference.jpg, context.jpg`; one that is there already stays."""
    alert = received.alert
    destination = directory / alert.id
    files = {
        "alert.json": (json.dumps(fields(received), ensure_ascii=False, indent=2) + "\n").encode(),
        "sample.jpg": alert.sample,
        "reference.jpg": alert.reference,
        "context.jpg": alert.context,
    }
    try:
        unfinished = Path(tempfile.mkdtemp(dir=directory, prefix=".unfinished-"))
        try:
            for name, content in files.items():
                with new_file(unfinished / name) as file:
                    file.write(content)
            _keep(unfinished, destination)
            sync_folder(directory)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise _cannot(directory, error) from error
    return destination


def _keep(unfinished: Path, destination: Path) -> None:
    """Rename, unless it is there already: several people may watch into one directory."""
    try:
        unfinished.rename(destination)  # never replaces a directory that has something in it
    except OSError:
        if not destination.is_dir():
            raise


def _cannot(directory: Path, error: OSError) -> ConfigError:
    return ConfigError(
        Reason.VALUE_INVALID,
        f"alerts cannot be saved in {directory}: {error.strerror}",
        fix="give a directory that you may write to, on a disk with room",
    )
