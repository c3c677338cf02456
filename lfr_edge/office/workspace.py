"""The folder that holds references between enrolment and the end of the deployment, encrypted while it exists.

    recipient    the public half of the workspace's own key: which workspace this is
    key.age      its private half and the engine contract, sealed to the office's key
    000001.age   photos as they were measured, up to 64 in a file, sealed to the workspace's key
    index.age    the list that was enrolled last, without problems: who, and which photos

Erasing overwrites and removes `key.age` first: without it the rest opens to nobody, nor does what was removed before.
A photo is known by the digest of its bytes, so that an interrupted or repeated enrolment measures none twice.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from lfr_edge.crypto.sealed import SealIdentity, open_sealed, seal
from lfr_edge.errors import ConfigError, PolicyError, Reason, UntrustedInputError
from lfr_edge.files import new_file, require_new, sync_folder
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.fields import Digest, Message
from lfr_edge.office.assess import Finding, Verdict
from lfr_edge.office.enrol import Photo
from lfr_edge.office.listing import Row
from lfr_edge.office.references import References, gather
from lfr_edge.vision.quality import Quality
from lfr_edge.watchlist.entries import Particulars

_RECIPIENT, _KEY, _INDEX = "recipient", "key.age", "index.age"
BATCH = 64
"""Photos in a file; what a power cut costs at the most."""


class _Key(Message):
    identity: str = Field(repr=False)
    engine_set: str
    contract: Digest


class _PhotoHead(Message):
    """Goes before a photo's template and picture."""

    sha256: Digest
    verdict: Verdict
    findings: tuple[Finding, ...]
    quality: Quality | None
    template_bytes: int
    picture_bytes: int


class _IndexRow(Message):
    line: int
    photo: str
    sha256: Digest
    particulars: Particulars


class _Index(Message):
    list_sha256: Digest
    rows: tuple[_IndexRow, ...]


class Workspace:
    """One office's references of one list. Whoever changes it holds `locked` from before it is opened."""

    def __init__(self, folder: Path, key: _Key) -> None:
        self.folder = folder
        self.engine_set = key.engine_set
        self.contract = key.contract
        self._identity = SealIdentity.from_bytes(key.identity.encode("ascii"), folder / _KEY)
        self._files: dict[Path, list[Photo]] = {}
        self._photos: dict[str, Photo] = {}
        for path in sorted(folder.glob("[0-9]*.age")):
            self._files[path] = _unpacked(self._opened(path), folder)
            self._photos |= {photo.sha256: photo for photo in self._files[path]}

    @property
    def photos(self) -> dict[str, Photo]:
        """Every photo that was measured, by the digest of its file."""
        return dict(self._photos)

    def add(self, photos: Sequence[Photo]) -> None:
        """Keep photos; when it returns they survive a power cut."""
        last = max((int(path.stem) for path in self._files), default=0)
        path = self.folder / f"{last + 1:06}.age"
        self._write(path, _packed(photos))
        self._files[path] = list(photos)
        self._photos |= {photo.sha256: photo for photo in photos}

    def rows(self) -> list[tuple[Row, Photo]]:
        """The list that was enrolled last, with each line's photo. ConfigError if there is none yet."""
        path = self.folder / _INDEX
        if not path.exists():
            raise ConfigError(
                Reason.FILE_MISSING,
                f"the list in {self.folder} has not been enrolled to its end",
                fix="run 'office enrol' again with the same folder, and mend what it names",
            )
        try:
            index = _Index.from_untrusted(self._opened(path))
            return [(Row(row.line, row.particulars, Path(row.photo)), self._photos[row.sha256]) for row in index.rows]
        except (UntrustedInputError, KeyError) as error:
            raise _damaged(self.folder) from error

    def has_list(self) -> bool:
        """Whether a list was enrolled to its end."""
        return (self.folder / _INDEX).exists()

    def finish(self, rows: Sequence[Row], photos: Sequence[Photo], list_sha256: str) -> None:
        """Make these rows, each with its photo, the enrolled list; photos of nobody on it are removed.

        Removed, not erased: the workspace's key opens what the disk may still hold of them, until it is destroyed.
        """
        index = _Index(
            list_sha256=list_sha256,
            rows=tuple(
                _IndexRow(line=row.line, photo=row.photo.name, sha256=photo.sha256, particulars=row.particulars)
                for row, photo in zip(rows, photos, strict=True)
            ),
        )
        self._write(self.folder / _INDEX, index.to_json())
        self._keep_only({photo.sha256 for photo in photos})

    def references(self) -> References:
        """What is to be sealed. ConfigError if no list was enrolled to its end."""
        pairs = self.rows()
        rows, photos = [row for row, _ in pairs], [photo for _, photo in pairs]
        return gather(rows, photos, engine_set=self.engine_set, contract=self.contract)

    def _keep_only(self, wanted: set[str]) -> None:
        for path, photos in list(self._files.items()):
            kept = [photo for photo in photos if photo.sha256 in wanted]
            if len(kept) == len(photos):
                continue
            if kept:
                self._write(path, _packed(kept))
            else:
                path.unlink()
                del self._files[path]
        self._photos = {sha256: photo for sha256, photo in self._photos.items() if sha256 in wanted}

    def _write(self, path: Path, plaintext: bytes) -> None:
        with new_file(path, replace=True) as file:
            file.write(seal(plaintext, [self._identity.recipient]))

    def _opened(self, path: Path) -> bytes:
        try:
            return open_sealed(path.read_bytes(), self._identity)
        except OSError as error:
            raise _missing(path, error) from error
        except UntrustedInputError as error:
            raise _damaged(self.folder) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else changes this workspace in the block. ConfigError if somebody does just now, or it is none."""
    try:
        handle = os.open(folder / _RECIPIENT, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _none(folder) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                Reason.FILE_IN_USE,
                f"another process changes {folder}",
                fix="wait until it has ended, then run it again",
            ) from error
        yield
    finally:
        os.close(handle)


def workspace_id(folder: Path) -> str:
    """Which workspace this is, for the registry: a digest. Works as long as anything of it is there."""
    try:
        recipient = (folder / _RECIPIENT).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise _none(folder) from error
    return hashlib.sha256(recipient.strip().encode()).hexdigest()


def destroy_key(folder: Path) -> None:
    """Overwrite and remove the key: nothing in the folder opens any more. Nothing to do if it is gone."""
    try:
        with (folder / _KEY).open("r+b") as file:
            file.write(os.urandom(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        (folder / _KEY).unlink()
        sync_folder(folder)
    except FileNotFoundError:
        return  # an erasure that was interrupted
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error


def remove(folder: Path) -> None:
    """Remove what is left of a workspace whose key was destroyed; what says which one it was goes last."""
    try:
        for path in sorted(folder.iterdir(), key=lambda path: path.name == _RECIPIENT):
            path.unlink()
        folder.rmdir()
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error


def exists(folder: Path) -> bool:
    """Whether there is something at this place. ConfigError if that cannot be said, or nothing can be made there."""
    try:
        if folder.exists():
            return True
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error
    require_new(folder)
    return False


def create(folder: Path, office: SealIdentity, engine_set: EngineSet) -> Workspace:
    """A new, empty workspace. ConfigError if the folder exists, or cannot be made."""
    require_new(folder)
    identity = SealIdentity.generate()
    key = _Key(identity=identity.to_bytes().decode("ascii"), engine_set=engine_set.name, contract=engine_set.contract)
    try:
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))  # mode 0700
        try:
            with new_file(unfinished / _RECIPIENT) as file:
                file.write(f"{identity.recipient}\n".encode("ascii"))
            with new_file(unfinished / _KEY) as file:
                file.write(seal(key.to_json(), [office.recipient]))
            unfinished.rename(folder)
            sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(unfinished)
            raise
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error
    return Workspace(folder, key)


def open_workspace(folder: Path, office: SealIdentity) -> Workspace:
    """The workspace in this folder. ConfigError if it is none, or another office's."""
    try:
        sealed = (folder / _KEY).read_bytes()
    except OSError as error:
        raise _missing(folder / _KEY, error) from error
    try:
        key = _Key.from_untrusted(open_sealed(sealed, office))
    except UntrustedInputError as error:
        raise ConfigError(
            Reason.DECRYPTION_FAILED,
            f"{folder} does not open with this office's key",
            fix="name the office whose workspace it is, or enrol again",
        ) from error
    return Workspace(folder, key)


def require_contract(workspace: Workspace, engine_set: EngineSet) -> None:
    """PolicyError unless the photos in it were measured under this set's contract."""
    if workspace.contract != engine_set.contract:
        raise PolicyError(
            Reason.CONTRACT_MISMATCH,
            f"the references in {workspace.folder} were made under another contract than that of '{engine_set.name}'",
            fix="enrol into a new folder with this engine set",
        )


def _packed(photos: Iterable[Photo]) -> bytes:
    """For each photo: length of its head (4 bytes, little-endian), head (JSON), template, picture."""
    parts = []
    for photo in photos:
        head = _PhotoHead(
            sha256=photo.sha256,
            verdict=photo.verdict,
            findings=photo.findings,
            quality=photo.quality,
            template_bytes=len(photo.template),
            picture_bytes=len(photo.picture_jpeg),
        ).to_json()
        parts += [len(head).to_bytes(4, "little"), head, photo.template, photo.picture_jpeg]
    return b"".join(parts)


def _unpacked(packed: bytes, folder: Path) -> list[Photo]:
    photos = []
    position = 0

    def take(count: int) -> bytes:
        nonlocal position
        part = packed[position : position + count]
        if count < 0 or len(part) < count:
            raise _damaged(folder)
        position += count
        return part

    while position < len(packed):
        try:
            head = _PhotoHead.from_untrusted(take(int.from_bytes(take(4), "little")))
        except UntrustedInputError as error:
            raise _damaged(folder) from error
        template, picture = take(head.template_bytes), take(head.picture_bytes)
        photos.append(Photo(head.sha256, head.verdict, head.findings, head.quality, picture, template))
    return photos


def _unwritable(folder: Path, why: str | None) -> ConfigError:
    return ConfigError(
        Reason.FILE_UNWRITABLE, f"{folder} cannot be written: {why}", fix="check the path, its permissions and the disk"
    )


def _none(folder: Path) -> ConfigError:
    return ConfigError(
        Reason.FILE_MISSING, f"{folder} is not a workspace", fix="give the folder that `office enrol` made"
    )


def _missing(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        Reason.FILE_MISSING, f"{path} cannot be read: {error.strerror}", fix="give the folder that `office enrol` made"
    )


def _damaged(folder: Path) -> UntrustedInputError:
    return UntrustedInputError(Reason.MALFORMED, f"the references in {folder} are damaged", fix="enrol again")
