"""The unlock share: half of what opens the list, in memory only.

It lies in one page that is pinned, left out of core files, and overwritten when the deployment ends. The page is an
anonymous file (memfd), so that the same program, started again in its own place, takes it over: a van that was unlocked
and then blind for a while need not be unlocked again. It ends with the process in every other case.

What passes through Python and pyrage to be compared, or to open the list, is not ours to overwrite: whoever held a
share and holds none any more is `spent`, and starts again, so that the rest of it goes with the process.
"""

import logging
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path

from lfr_edge.biometrics.locking import LibcMemoryLock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.errors import ConfigError, PolicyError, Reason

_LOG = logging.getLogger(__name__)

_SECRET_CHARS = 74  # of an age identity: `AGE-SECRET-KEY-1`, then 58 of Bech32
_NAME = "lfr-edge-share"
_HANDED_OVER = "LFR_EDGE_UNLOCK_FILE"
"""The variable that tells the next program of this process which file the page is."""


class _Page:
    """One page of an anonymous file."""

    def __init__(self, file: int) -> None:
        self.file = file
        self._map = mmap.mmap(file, mmap.PAGESIZE)
        self._map.madvise(mmap.MADV_DONTDUMP)
        self._map.madvise(mmap.MADV_DONTFORK)
        if not LibcMemoryLock().lock(self._map):
            _LOG.warning("the unlock share could not be locked: it could reach swap; raise LimitMEMLOCK")

    @classmethod
    def filled_from(cls, file: int) -> "_Page":
        """A new page with what the file begins with: read into it, past Python's own memory."""
        anonymous = os.memfd_create(_NAME, os.MFD_CLOEXEC)
        os.ftruncate(anonymous, mmap.PAGESIZE)
        page = cls(anonymous)
        try:
            os.preadv(file, [page._map], 0)
        except OSError as error:
            page.wipe()
            raise ConfigError(
                Reason.FILE_MISSING, f"the share cannot be read: {error.strerror}", fix="give it again"
            ) from error
        return page

    @classmethod
    def handed_over(cls) -> "_Page | None":
        """The page of the program before this one, if there was any."""
        number = os.environ.pop(_HANDED_OVER, "")
        try:
            if not str(Path(f"/proc/self/fd/{number}").readlink()).startswith(f"/memfd:{_NAME}"):
                return None
            os.set_inheritable(int(number), False)
            return cls(int(number))
        except (OSError, ValueError):
            return None

    def identity(self) -> SealIdentity:
        """ConfigError if there is none in it."""
        with memoryview(self._map) as view:
            return SealIdentity.from_secret(str(view[:_SECRET_CHARS], "ascii", "replace"))

    def wipe(self) -> None:
        """Overwrite and give it back."""
        self._map[:] = bytes(len(self._map))
        self._map.close()
        os.close(self.file)


class Share:
    """The share of the loaded order, or none. Thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._page = _Page.handed_over()
        self._recipient = self._page.identity().recipient if self._page is not None else None
        self._held_one = self._page is not None

    def take(self, file: int, recipient: str, announce: Callable[[], None]) -> None:
        """Hold the share that the file begins with, if it is this recipient's; `announce` before it opens anything.

        PolicyError for another one, ConfigError for what is none: what was held before stays.
        """
        page = _Page.filled_from(file)
        with self._mutex:
            self._held_one = True
            try:
                _require(page.identity(), recipient)
                announce()
            except BaseException:
                page.wipe()
                raise
            self._wipe()
            self._page, self._recipient = page, recipient

    def opens(self, recipient: str | None) -> bool:
        """Is nothing missing: is this recipient's share held, or none needed."""
        with self._mutex:
            return recipient in {None, self._recipient}

    def identity(self, recipient: str | None) -> SealIdentity | None:
        """The private key; None where none is needed. PolicyError if it is not held."""
        with self._mutex:
            if recipient is None:
                return None
            if self._page is None or self._recipient != recipient:
                raise PolicyError(
                    Reason.UNLOCK_REQUIRED,
                    "the unlock share is not here",
                    fix="give it: lfr-edge deployment unlock",
                )
            return self._page.identity()

    def keep_for(self, recipient: str | None) -> None:
        """Overwrite it, unless it is this recipient's."""
        with self._mutex:
            if self._page is not None and self._recipient != recipient:
                self._wipe()

    @property
    def spent(self) -> bool:
        """Was there a share in this process, and is none any more."""
        with self._mutex:
            return self._held_one and self._page is None

    def hand_over(self) -> None:
        """Let the program that is started in this one's place have it."""
        with self._mutex:
            if self._page is not None:
                os.set_inheritable(self._page.file, True)
                os.environ[_HANDED_OVER] = str(self._page.file)

    def _wipe(self) -> None:
        if self._page is not None:
            self._page.wipe()
        self._page = self._recipient = None


def _require(share: SealIdentity, recipient: str) -> None:
    if share.recipient != recipient:
        raise PolicyError(
            Reason.WRONG_RECIPIENT,
            "this is the share of another order",
            fix="give the one that the watchlist office made with this order",
        )
