"""Where a role's `keygen` puts its key files: all of them, or none."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from lfr_edge.errors import ConfigError, Reason


@contextlib.contextmanager
def new_key_files(folder: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """Paths in `folder`, which is made if missing (0700), and gone again if the block fails before it writes there.

    ConfigError if any of the files exists already.
    """
    paths = [folder / name for name in names]
    try:
        folder = folder.resolve()
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        taken = next((path for path in paths if path.exists()), None)
        if taken is None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            Reason.FILE_UNWRITABLE, f"{folder} cannot be made: {error.strerror}", fix="choose another folder"
        ) from error
    if taken is not None:
        raise ConfigError(
            Reason.FILE_EXISTS, f"{taken} exists already", fix="keys are never overwritten: choose another folder"
        )
    try:
        yield paths
    except BaseException:
        with contextlib.suppress(OSError):  # something lies in it
            for made in missing:
                made.rmdir()
        raise
