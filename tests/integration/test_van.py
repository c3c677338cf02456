"""The street clip through the real daemon and the real broker: the four who are listed alert once each, nobody else."""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from support.clips import thinned
from support.van import running_van

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.adapters.photos import read_photo
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import FRAME
from lfr_edge.cli.demo_scene import CAMERA, CLIP, EXAMPLES, FORCE, VAN, Footage
from lfr_edge.control_room.watch import ReceivedAlert
from lfr_edge.crypto.signing import VerifyKey
from lfr_edge.errors import LfrEdgeError
from lfr_edge.inference.manifest import EngineSet, load_engine_set
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.alert import Alert, SealedAlert
from lfr_edge.messages.order import Order, open_order
from lfr_edge.messages.status import Health, Status
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.pipeline.outbox import Outbox
from lfr_edge.watchlist.package import open_package

THE_FOUR = {"P03", "P33", "P56", "P57"}
PICTURES = 571


@dataclass(frozen=True)
class Played:
    """Everything that one run of the daemon left."""

    pace: str
    exit_status: int
    events: list[object]
    health: list[Health]
    status: list[Status]
    log: str
    folder: Path
    order: Order
    engine_set: EngineSet

    @property
    def alerts(self) -> list[Alert]:
        return [event.alert for event in self.events if isinstance(event, ReceivedAlert)]


def play(folder: Path, engine_set: EngineSet, store: EngineStore, pace: str, clip: Path = CLIP) -> Played:
    with running_van(folder, engine_set, store, Footage(str(clip), pace, frozenset(THE_FOUR))) as van:
        van.wait(lambda: any(status.state == "ended" for status in van.status), 240)
        exit_status = van.process.wait(20)
        with open_package(van.scene.package) as package:
            order = open_order(package.order, [VerifyKey.from_file(folder / "order.pub")])
        return Played(pace, exit_status, van.events, van.health, van.status, van.log, folder, order, engine_set)


@pytest.fixture(scope="module", params=[pytest.param("full-speed", marks=pytest.mark.slow), "live"])
def played(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    engine_set: EngineSet,
    engine_store: EngineStore,
) -> Played:
    return play(tmp_path_factory.mktemp("street") / "van", engine_set, engine_store, request.param)


@pytest.fixture(scope="module")
def extractor(engine_set: EngineSet, engine_store: EngineStore) -> Extractor:
    return open_extractor(engine_set, engine_store, Arena(64 << 20), threads=2)


def faces_in(jpeg: bytes, extractor: Extractor) -> int:
    picture = np.asarray(Pillow.open(io.BytesIO(jpeg)).convert("RGB"))[..., ::-1]
    image = Image.blank(extractor.arena, FRAME, picture.shape[1], picture.shape[0])
    with image.lease:
        np.copyto(image.pixels, picture)
        return len(extractor.detect(image))


def test_the_four_alert_once_each_and_nobody_else(played: Played) -> None:
    assert Counter(alert.entry for alert in played.alerts) == Counter(THE_FOUR)
    assert len(played.events) == 4, "something was refused"
    assert played.exit_status == 0, played.log


def test_an_alert_says_what_order_list_and_engines_it_came_from(played: Played) -> None:
    with (EXAMPLES / "watchlist.csv").open(encoding="utf-8", newline="") as file:
        listed = {row["id"]: row for row in csv.DictReader(file)}
    order = played.order
    for alert in played.alerts:
        row = listed[alert.entry]
        assert (alert.category, alert.response) == (row["category"], row["response"])
        assert (alert.van, alert.force, alert.camera) == (VAN, FORCE, CAMERA)
        assert (alert.order, alert.place, alert.recipients) == (order.id, order.place, order.recipients)
        assert (alert.contract, alert.engine_set) == (played.engine_set.contract, played.engine_set.digest)
        assert alert.watchlist_sha256 == order.watchlist_sha256
        assert alert.statement == "possible match"


def test_an_alert_satisfies_the_rule_of_its_order(played: Played) -> None:
    for alert in played.alerts:
        assert alert.threshold == played.order.threshold
        assert alert.score >= alert.threshold
        assert alert.faces >= played.order.confirmation
        assert alert.runner_up not in {None, alert.entry}
        assert alert.margin is not None
        assert alert.score - alert.margin < alert.threshold, "in this cast the runner-up is nobody"


def test_an_alert_is_dated_from_the_picture_to_the_decision(played: Played) -> None:
    for event in played.events:
        assert isinstance(event, ReceivedAlert)
        assert event.alert.captured_at <= event.alert.decided_at <= event.received_at
        assert not event.historical
    assert len({alert.id for alert in played.alerts}) == 4
    assert len({alert.ack_token for alert in played.alerts}) == 4


def test_the_reference_is_the_face_of_the_entrys_own_photo(played: Played, extractor: Extractor) -> None:
    photos = {path.stem: features_of(path, extractor) for path in (EXAMPLES / "photos").iterdir()}
    for alert in played.alerts:
        shown = features_of(io.BytesIO(alert.reference), extractor)
        scores = {person: float(shown @ features) for person, features in photos.items()}
        assert max(scores, key=scores.__getitem__) == alert.entry
        assert scores[alert.entry] > played.engine_set.threshold


def features_of(photo: Path | io.BytesIO, extractor: Extractor) -> NDArray[np.float32]:
    features = np.empty((1, extractor.dimension), np.float32)
    image = read_photo(photo, extractor.arena, FRAME)
    with image.lease:
        (face,) = extractor.detect(image)
        extractor.embed(image, [face], out=features)
    return features[0]


def test_the_sample_shows_the_matched_face_and_no_more(played: Played) -> None:
    for alert in played.alerts:
        sample = Pillow.open(io.BytesIO(alert.sample))
        assert sample.format == "JPEG"
        assert 30 < sample.width < sample.height < 400, "a face is higher than wide, and not the street"


def test_in_the_context_nobody_but_the_matched_person_can_be_found(played: Played, extractor: Extractor) -> None:
    for alert in played.alerts:
        context = Pillow.open(io.BytesIO(alert.context))
        assert (context.format, context.width) == ("JPEG", 960)
        assert faces_in(alert.context, extractor) <= 1


def test_every_picture_is_counted(played: Played) -> None:
    last = played.health[-1]
    (camera,) = last.cameras
    assert camera.frames_read == PICTURES
    assert camera.undecodable == 0
    assert camera.superseded == 0 or played.pace == "live", "files at full speed lose nothing"
    assert (last.alerts, last.queue, last.tracks) == (4, 0, 0)
    assert last.faces_detected > (500 if played.pace == "full-speed" else 0)


def test_the_status_goes_from_live_to_ended(played: Played) -> None:
    assert [status.state for status in played.status] == ["live", "ended"]
    assert {(status.session, status.order, status.engine_set) for status in played.status} == {
        (1, played.order.id, played.engine_set.digest)
    }


def test_the_outbox_keeps_the_alerts_until_they_expire(played: Played) -> None:
    outbox = Outbox(played.folder / "state" / "outbox.sqlite")
    pending = outbox.next_after(SealedAlert, 0)
    assert len(outbox) == 4
    outbox.close()
    assert pending is not None
    assert abs((pending.expires_at - pending.sealed.time).total_seconds() - 3600 * played.order.alert_expiry_h) < 1


def test_the_log_has_ids_and_counts_and_neither_entries_nor_scores(played: Played) -> None:
    assert [line for line in played.log.splitlines() if "lfr_edge" not in line] == []
    assert not re.search(r"\bP\d\d\b|\b0\.\d", played.log), played.log
    assert played.log.count(" alert ") == 4
    assert "Traceback" not in played.log


def test_the_other_engine_set_alerts_for_the_same_four(tmp_path: Path, engine_store: EngineStore) -> None:
    other = load_engine_set("centerface-dlib29")
    try:
        engine_store.fetch(other)
    except LfrEdgeError as error:
        pytest.skip(f"needs the weights of {other.name}: {error}")
    played = play(tmp_path / "van", other, engine_store, "full-speed", thinned(CLIP, 3, tmp_path / "thinned.mp4"))
    assert Counter(alert.entry for alert in played.alerts) == Counter(THE_FOUR)
    assert played.exit_status == 0, played.log
    (camera,) = played.health[-1].cameras
    assert (camera.frames_read, camera.superseded) == (-(-PICTURES // 3), 0), "files at full speed lose nothing"
