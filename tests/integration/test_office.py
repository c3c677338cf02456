"""The office's commands as a clerk types them, with real models and the synthetic custody photos."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from support.clerk import BEFORE, ORDER

from lfr_edge.biometrics.arena import Arena
from lfr_edge.cli.main import main
from lfr_edge.cli.run import TUNABLES
from lfr_edge.clock import SystemClock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import VerifyKey
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.order import open_order
from lfr_edge.office.references import References
from lfr_edge.office.workspace import open_workspace
from lfr_edge.watchlist.container import read_watchlist
from lfr_edge.watchlist.package import open_package

SET = "yunet-mobilefacenet"
COLUMNS = ("id", "photo", "category", "response", "legal_basis", "source", "captured", "rationale", "expires")


@dataclass(frozen=True)
class Desk:
    """A clerk's desk: photos, models, and room for what the commands make."""

    photos: Path
    store: Path
    folder: Path

    def write_list(self, photos: dict[str, str]) -> Path:
        path = self.folder / "list.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            rest = ("wanted on warrant", "red", "common law", "custody", "2025-03-01", "warrant", "2999-01-01")
            writer.writerows((entry, photo, *rest) for entry, photo in photos.items())
        return path

    def enrol(self, listing: Path, photos: Path | None = None, *more: str) -> int:
        arguments = ["--photos", str(photos or self.photos), "--list", str(listing), "--engine-set", SET, *more]
        where = ["--store", str(self.store), "--out", str(self.folder / "work")]
        return main(["office", "enrol", *arguments, *where, *self.logged()])

    def logged(self) -> list[str]:
        """What every command says to the log."""
        return ["--office", str(self.folder / "desk" / "office.toml"), "--by", "J. Clerk", "--why", "deployment 17"]

    def references(self) -> References:
        """What lies in the workspace."""
        office = SealIdentity.from_file(self.folder / "desk" / "workspace.age")
        return open_workspace(self.folder / "work", office).references()


@pytest.fixture(scope="module")
def store(engine_store: EngineStore) -> Path:
    return engine_store.root


@pytest.fixture
def desk(shared: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(SystemClock, "utc", lambda _: BEFORE)
    assert main(["office", "setup", "--force", "example", "--no-passphrase", "--out", str(tmp_path / "desk")]) == 0
    return Desk(shared / "media" / "synthetic" / "custody", store, tmp_path)


@pytest.fixture
def package(desk: Desk) -> tuple[Path, Path]:
    """Package and van identity, made by the commands alone."""
    listing = desk.write_list({photo.stem: photo.name for photo in sorted(desk.photos.glob("*.jpg"))})
    assert desk.enrol(listing) == 0
    assert main(["office", "keygen", "--no-passphrase", "--out", str(desk.folder / "keys")]) == 0
    van = SealIdentity.generate()
    van.to_file(desk.folder / "van.age")
    (desk.folder / "order.toml").write_text(ORDER, "utf-8")
    out = desk.folder / "harbour.lfrd"
    arguments = ["--order", str(desk.folder / "order.toml"), "--key", str(desk.folder / "keys" / "order.key")]
    arguments += ["--van-recipient", f"van-1={van.recipient}", "--recipient", SealIdentity.generate().recipient]
    assert main(["office", "seal", str(desk.folder / "work"), *arguments, *desk.logged(), "--out", str(out)]) == 0
    return out, desk.folder / "van.age"


def test_custody_photos_become_a_package_that_the_van_searches(
    capsys: pytest.CaptureFixture[str], desk: Desk, package: tuple[Path, Path]
) -> None:
    shown = capsys.readouterr().out
    path, identity = package
    engine_set = load_engine_set(SET)
    arena = Arena(1 << 20)
    with open_package(path) as opened:
        order = open_order(opened.order, [VerifyKey.from_file(desk.folder / "keys" / "order.pub")])
        watchlist = read_watchlist(
            opened.watchlist(),
            SealIdentity.from_file(identity),
            arena,
            contract=engine_set.contract,
            dimension=engine_set.dimension,
        )
        assert len(watchlist) == 28
        assert all(opened.pictures.open(entry).startswith(b"\xff\xd8\xff") for entry in watchlist.entries)
        templates = desk.references().templates
        scores = np.empty(28, np.float32)
        for row, entry in zip(templates, watchlist.entries, strict=True):
            first, second = watchlist.search(row, scores=scores)
            assert first.entry == entry
            assert second is not None
            assert second.score < 0.6
        watchlist.wipe()
    for said in (order.id, order.watchlist_sha256, order.pictures_sha256, order.contract, "09:00 to 2026-06-01 17:00"):
        assert said in shown
    assert re.search(r"entries +28\n", shown)
    assert "look-alikes: P46 and P74 score 0.59" in shown


def test_twice_the_same_person_is_a_look_alike(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.enrol(desk.write_list({"one": "P03.jpg", "two": "P03.jpg", "other": "P33.jpg"})) == 0
    shown = capsys.readouterr().out
    assert re.search(r"look-alikes: one and two score 1\.000: probably one person under two ids", shown)


def test_mistakes_of_the_list_come_first_and_then_all_bad_photos_at_once(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = desk.folder / "photos"
    photos.mkdir()
    one, other = (Pillow.open(desk.photos / name) for name in ("P03.jpg", "P33.jpg"))
    two = Pillow.new("RGB", (800, 500))
    two.paste(one, (0, 0))
    two.paste(other, (400, 0))
    two.save(photos / "two.jpg")
    Pillow.new("RGB", (400, 500), (90, 120, 150)).save(photos / "none.png")
    small = Pillow.new("RGB", (640, 500), (90, 120, 150))
    small.paste(one.resize((80, 100)), (280, 200))
    small.save(photos / "small.jpg")
    (photos / "film.jpg").write_bytes(b"\0\0\0\x18ftypmp42" * 100)
    one.save(photos / "good.webp")
    names = ["two.jpg", "none.png", "small.jpg", "film.jpg", "good.webp"]
    listing = desk.write_list({name.partition(".")[0]: name for name in [*names, "absent.jpg"]})
    assert desk.enrol(listing, photos) == 2
    assert re.search(r"list\.csv: line 7: absent \(absent\.jpg\): there is no such photo", capsys.readouterr().err)
    assert not (desk.folder / "work").exists()
    listing = desk.write_list({name.partition(".")[0]: name for name in names})
    assert desk.enrol(listing, photos) == 2
    shown = capsys.readouterr()
    assert re.search(
        r"list\.csv: line 2: two \(two\.jpg\): 2 faces were found \(\d+x\d+, \d+x\d+ px\); crop", shown.err
    )
    assert re.search(r"line 3: none \(none\.png\): no face was found", shown.err)
    assert re.search(r"line 4: small \(small\.jpg\): the face is too small \(1\d px between the eyes", shown.err)
    assert re.search(r"line 5: film \(film\.jpg\): it is not a JPEG, PNG or WebP", shown.err)
    assert "good" not in shown.err
    assert "4 problem(s); no list was enrolled" in shown.err
    assert "Traceback" not in shown.err


def test_a_threshold_below_the_floor_is_one_clear_error(
    desk: Desk, package: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (desk.folder / "order.toml").write_text(ORDER.replace("0.55", "0.4"), "utf-8")
    key = SealIdentity.generate().recipient
    arguments = ["--order", str(desk.folder / "order.toml"), "--key", str(desk.folder / "keys" / "order.key")]
    arguments += ["--van-recipient", f"van-1={key}", "--recipient", key, "--out", str(desk.folder / "low.lfrd")]
    capsys.readouterr()
    assert main(["office", "seal", str(desk.folder / "work"), *arguments, *desk.logged()]) == 2
    error = capsys.readouterr().err
    assert "threshold 0.4 is below the floor 0.497" in error
    assert "fix: raise threshold in the order; 0.54 is recommended" in error
    assert not (desk.folder / "low.lfrd").exists()
    assert package[0].exists()


# Opens the package, then looks for every template in all of its own readable memory. Whole rows' worth of bytes cannot
# be in the script or its source, so each place found is a copy that decryption left.
_SCAN = """
import re, sys
from pathlib import Path
import numpy as np
from lfr_edge.biometrics.arena import Arena
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.watchlist.container import read_watchlist
from lfr_edge.watchlist.package import open_package

package, identity, leak = sys.argv[1:]
engine_set = load_engine_set("yunet-mobilefacenet")
arena = Arena(1 << 20)
with open_package(Path(package)) as opened:
    watchlist = read_watchlist(
        opened.watchlist(), SealIdentity.from_file(Path(identity)), arena,
        contract=engine_set.contract, dimension=engine_set.dimension,
    )
kept = watchlist._templates.array.tobytes() if leak == "leak" else None
first, last = arena._address, arena._address + len(arena._map)
rows = watchlist._templates.array
addresses = {"arena": 0, "elsewhere": 0}
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
    for line in list(maps):
        start, end, mode = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\\S+)", line).groups()
        start, end = int(start, 16), int(end, 16)
        if not mode.startswith("rw") or "[v" in line:
            continue
        memory.seek(start)
        try:
            region = memory.read(end - start)
        except OSError:
            continue
        for row in rows:
            for part in range(0, len(row), 16):  # 64 bytes: less than any row, more than chance
                at = region.find(row[part : part + 16].data.cast("B"))
                while at >= 0:
                    addresses["arena" if first <= start + at < last else "elsewhere"] += 1
                    at = region.find(row[part : part + 16].data.cast("B"), at + 1)
        region = None
print(addresses["arena"], addresses["elsewhere"], rows.size // 16)
"""


def scan(package: tuple[Path, Path], *, leak: bool) -> tuple[int, int, int]:
    environment = {**os.environ, "GLIBC_TUNABLES": TUNABLES}
    arguments = [str(part) for part in package] + ["leak" if leak else "clean"]
    done = subprocess.run(
        [sys.executable, "-c", _SCAN, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    arena, elsewhere, parts = map(int, done.stdout.split())
    return arena, elsewhere, parts


def test_unsealed_templates_lie_in_the_arena_and_nowhere_else(package: tuple[Path, Path]) -> None:
    arena, elsewhere, parts = scan(package, leak=False)
    assert (arena, elsewhere) == (parts, 0)


def test_the_scan_finds_a_planted_copy(package: tuple[Path, Path]) -> None:
    _, elsewhere, parts = scan(package, leak=True)
    assert elsewhere >= parts


def test_an_enrolment_that_is_killed_goes_on_where_its_last_batch_was(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = desk.folder / "photos"
    photos.mkdir()
    for quality in (70, 80, 90, 95):  # each another file, and so another photo
        for path in desk.photos.glob("*.jpg"):
            Pillow.open(path).save(photos / f"{path.stem}-{quality}.jpg", quality=quality)
    names = sorted(path.name for path in photos.iterdir())
    listing = desk.write_list({name[:-4]: name for name in names})
    command = [sys.executable, "-m", "lfr_edge.cli.main", "office", "enrol", *desk.logged()]
    command += ["--photos", str(photos), "--list", str(listing), "--engine-set", SET]
    running = subprocess.Popen([*command, "--store", str(desk.store), "--out", str(desk.folder / "work")])
    deadline = time.monotonic() + 120
    while not (desk.folder / "work" / "000001.age").exists():
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    assert not (desk.folder / "work" / "index.age").exists()
    assert desk.enrol(listing, photos) == 0
    shown = capsys.readouterr().out
    assert "64 of 112 photos were measured before" in shown
    assert "112 entries of 112 photos" in shown


@pytest.mark.slow
def test_300_real_people_are_enrolled_and_nobody_is_taken_for_another(
    shared: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    lfw = shared / "media" / "lfw"
    if not (lfw / "split.json").is_file():
        pytest.skip(f"needs {lfw}")
    gallery: list[tuple[str, str]] = json.loads((lfw / "split.json").read_text("utf-8"))["gallery"]
    listing = desk.write_list({f"L-{number}": photo for number, (_, photo) in enumerate(gallery)})
    # News pictures: one in five has somebody else's face in it. The clerk takes out what is refused.
    assert desk.enrol(listing, lfw / "images") == 2
    refused = re.findall(r"line \d+: (L-\d+) ", capsys.readouterr().err)
    assert 30 < len(refused) < 80
    kept = {f"L-{number}": photo for number, (_, photo) in enumerate(gallery) if f"L-{number}" not in refused}
    report = desk.folder / "report"
    assert desk.enrol(desk.write_list(kept), lfw / "images", "--report", str(report)) == 0
    shown = capsys.readouterr().out
    assert f"{len(kept)} of {len(kept)} photos were measured before" in shown
    assert f"{len(kept)} entries of {len(kept)} photos" in shown
    content = json.loads((report / "report.json").read_text("utf-8"))
    assert [photo["id"] for photo in content["photos"]] == list(kept)
    # Different people all of them: a look-alike is rare, and none is taken for the same person.
    assert len(content["look_alikes"]) < 10
    assert not any(pair["probably_one_person"] for pair in content["look_alikes"])
    assert desk.references().templates.shape == (len(kept), 128)
