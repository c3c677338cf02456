"""The unlock share in memory: one page, handed on to the program that follows in the same process, to nobody else."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.errors import ConfigError, PolicyError, Reason
from lfr_edge.van.share import Share

SHARE = SealIdentity.generate()
OTHER = SealIdentity.generate()

# Takes what it is given, and starts `FOLLOWING` in its own place.
HANDING_OVER = """
import os, sys
from lfr_edge.van.share import Share
share = Share()
share.take(0, sys.argv[1], lambda: None)
if sys.argv[2] == "handed over":
    share.hand_over()
os.execv(sys.executable, [sys.executable, "-c", sys.argv[3], sys.argv[1]])
"""
FOLLOWING = """
import os, sys
from pathlib import Path
from lfr_edge.van.share import Share
share = Share()
files = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
pages = [link for link in files if "lfr-edge-share" in os.readlink(link)]
inheritable = any(os.get_inheritable(int(link.name)) for link in pages)
secret = share.identity(sys.argv[1]).secret if share.opens(sys.argv[1]) else ""
share.keep_for(None)
print(secret, len(pages) > 0, inheritable, share.spent, "LFR_EDGE_UNLOCK_FILE" in os.environ)
"""


@contextmanager
def offered(content: bytes) -> Iterator[int]:
    with TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.fileno()


def take(share: Share, content: bytes, recipient: str = SHARE.recipient) -> None:
    with offered(content) as file:
        share.take(file, recipient, lambda: None)


def pages() -> dict[str, set[str]]:
    """Flags of the pages of shares in this process, by address."""
    found = {}
    for mapping in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text("ascii")):
        if "/memfd:lfr-edge-share" in mapping:
            found[mapping.split()[0]] = set(mapping.partition("VmFlags:")[2].splitlines()[0].split())
    return found


@pytest.mark.parametrize("how", ["handed over", "kept"])
def test_the_program_that_follows_has_the_share_only_if_it_was_handed_over(how: str) -> None:
    command = [sys.executable, "-c", HANDING_OVER, SHARE.recipient, how, FOLLOWING]
    with offered(SHARE.secret.encode()) as file:
        run = subprocess.run(command, stdin=file, capture_output=True, text=True, check=True)
    handed = f"{SHARE.secret} True False True False\n"
    assert run.stdout == (handed if how == "handed over" else " False False False False\n")


@pytest.mark.parametrize("number", ["", "0", "99999", "self", "../maps", "-1"])
def test_a_number_that_is_no_page_of_ours_is_no_share(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LFR_EDGE_UNLOCK_FILE", number)
    share = Share()
    assert not share.opens(SHARE.recipient)
    assert not share.spent
    assert "LFR_EDGE_UNLOCK_FILE" not in os.environ


def test_the_page_is_locked_and_left_out_of_core_files_and_children() -> None:
    before = pages()
    share = Share()
    take(share, SHARE.secret.encode())
    (address,) = pages().keys() - before.keys()
    assert {"lo", "dd", "dc"} <= pages()[address], "locked, not dumped, not copied to children"
    share.keep_for(None)
    assert pages() == before


def test_a_share_opens_its_own_order_until_another_one_is_loaded() -> None:
    share = Share()
    assert share.opens(None)
    assert share.identity(None) is None
    assert not share.opens(SHARE.recipient)
    with pytest.raises(PolicyError) as locked:
        share.identity(SHARE.recipient)
    assert locked.value.reason is Reason.UNLOCK_REQUIRED
    take(share, SHARE.secret.encode())
    assert share.opens(SHARE.recipient)
    assert not share.opens(OTHER.recipient)
    with pytest.raises(PolicyError):
        share.identity(OTHER.recipient)
    share.keep_for(SHARE.recipient)
    assert share.opens(SHARE.recipient)
    assert not share.spent
    share.keep_for(OTHER.recipient)
    assert not share.opens(SHARE.recipient)
    assert share.spent


def test_what_is_refused_leaves_what_was_held_and_no_page() -> None:
    share = Share()
    take(share, SHARE.secret.encode())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for content in (OTHER.secret.encode(), b"", b"\xff" * 9000, SHARE.secret.encode()[:-1]):
        with pytest.raises((PolicyError, ConfigError)):
            take(share, content)

    def refuses() -> None:
        raise ConfigError(Reason.FILE_UNWRITABLE, "the log is full", fix="make room")

    with offered(SHARE.secret.encode()) as file, pytest.raises(ConfigError, match="log is full"):
        share.take(file, SHARE.recipient, refuses)
    readable, writable = os.pipe()
    with pytest.raises(ConfigError, match="cannot be read"):
        share.take(readable, SHARE.recipient, lambda: None)
    os.close(readable)
    os.close(writable)
    assert share.opens(SHARE.recipient)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    share.keep_for(None)


def test_a_share_that_is_announced_does_not_open_anything_before() -> None:
    share = Share()
    seen: list[bool] = []
    with offered(SHARE.secret.encode()) as file:
        share.take(file, SHARE.recipient, lambda: seen.append(share._page is not None))
    assert seen == [False]
    with contextlib.suppress(PolicyError):
        take(share, OTHER.secret.encode())
    assert share.opens(SHARE.recipient)
    share.keep_for(None)
