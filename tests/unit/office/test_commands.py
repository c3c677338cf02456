"""The office's commands, with faces that a fake extractor reads out of plain colours."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from lfr_edge.audit.entries import Entry
from lfr_edge.audit.reader import open_log, unverified_entries, verify_log
from lfr_edge.cli.main import main
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, unverified_payload
from lfr_edge.messages.erasure import ErasureReceipt, sign_receipt
from lfr_edge.messages.order import Order
from lfr_edge.messages.prekey import Prekey, Prekeys, sign_prekeys
from lfr_edge.watchlist.package import open_package

HEADER = "id,photo,category,response,legal_basis,source,captured,rationale,expires"
REST = "wanted on warrant,red,common law,custody,2025-03-01,warrant,2027-01-01"
ORDER = """
id = "harbour-2026-06-01"
purpose = "find people wanted on warrant"
legal_basis = "common law"
place = "Harbour Street"
authorising_officer = "Supt A. Example"
force = "example"
not_before = 2026-06-01T09:00:00Z
not_after = 2026-06-01T17:00:00Z
threshold = 0.55
margin = 0.05
confirmation = 2
cooldown_s = 300
expected_faces = 10000
notice_url = "https://example.org/notice"
demo = false

[[vans]]
id = "van-1"
cameras = ["front"]
"""


@dataclass
class Clerk:
    """Somebody at a desk, and what lies on it."""

    folder: Path
    photos: Path
    key: str

    def __call__(self, action: str, *arguments: object) -> int:
        logged = [] if action in {"verify", "inspect"} else ["--office", self.folder / "desk" / "office.toml"]
        logged += [] if action in {"verify", "inspect"} else ["--by", "J. Clerk", "--why", "deployment 17"]
        return main(["office", action, *map(str, (*arguments, *logged))])

    def write_list(self, *lines: str) -> Path:
        path = self.folder / "list.csv"
        path.write_text("\n".join([HEADER, *(f"{line},{REST}" for line in lines)]) + "\n", "utf-8")
        return path

    def enrol(self, *arguments: object) -> int:
        where = ("--photos", self.photos, "--list", self.folder / "list.csv", "--out", self.folder / "work")
        return self("enrol", *where, "--engine-set", "yunet-mobilefacenet", *arguments)

    def seal(self, *arguments: object, order: str = ORDER) -> int:
        (self.folder / "order.toml").write_text(order, "utf-8")
        where = (self.folder / "work", "--order", self.folder / "order.toml", "--recipient", self.key)
        van = () if "--prekeys" in arguments else ("--van-recipient", f"van-1={self.key}")
        out = () if "--out" in arguments else ("--out", self.folder / "x.lfrd")
        return self("seal", *where, *van, *out, *arguments)

    def officer(self, name: str) -> Path:
        assert main(["office", "keygen", "--no-passphrase", "--out", str(self.folder / name)]) == 0
        return self.folder / name

    def log(self) -> list[Entry]:
        """Everything in the office's log, verified."""
        path = self.folder / "desk" / "office.log"
        verify_log(path, VerifyKey.from_file(self.folder / "desk" / "log.pub"), [])
        with open_log(path) as file:
            return list(unverified_entries(file))

    def events(self, *kinds: str) -> list[Any]:
        """Any: each kind of event has fields of its own."""
        return [entry.event for entry in self.log() if not kinds or entry.event.kind in kinds]


@pytest.fixture
def measured() -> list[int]:
    """How many photos each run of the engines measured."""
    return []


@pytest.fixture
def clerk(
    tmp_path: Path,
    photos: Path,
    photo: Callable[..., str],
    extractor: Any,
    measured: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> Clerk:
    def opened(*_: object, **__: object) -> Any:
        measured.append(0)
        return extractor

    detect = extractor.detect

    def counted(image: Any) -> Any:
        measured[-1] += 1
        return detect(image)

    extractor.detect = counted
    monkeypatch.setattr("lfr_edge.cli.office_enrol.open_extractor", opened)
    assert main(["office", "setup", "--force", "example", "--out", str(tmp_path / "desk"), "--no-passphrase"]) == 0
    for who in (2, 4, 6):
        photo(f"{who}.png", who=who)
    desk = Clerk(tmp_path, photos, SealIdentity.generate().recipient)
    desk.write_list("E-2,2.png", "E-4,4.png", "E-6,6.png")
    return desk


def test_enrolling_again_measures_only_what_is_new_and_logs_what_changed(
    clerk: Clerk, photo: Callable[..., str], measured: list[int]
) -> None:
    assert clerk.enrol() == 0
    assert sum(measured) == 3
    assert clerk.enrol() == 0
    assert sum(measured) == 3
    photo("8.png", who=8)
    path = clerk.write_list("E-2,2.png", "E-2,8.png", "E-4,4.png")
    path.write_text(path.read_text().replace("4.png,wanted on warrant", "4.png,missing and vulnerable"), "utf-8")
    assert clerk.enrol() == 0
    assert sum(measured) == 4
    assert [event.entry for event in clerk.events("entry-removed")] == ["E-6"]
    altered = {event.entry: event.fields for event in clerk.events("entry-altered")}
    assert altered == {"E-2": ("photo",), "E-4": ("category",)}
    first, _, last = clerk.events("enrolled")
    assert (first.entries, first.photos, last.entries, last.photos) == (3, 3, 2, 3)
    assert {(event.by, event.why) for event in clerk.events("enrolled")} == {("person:J. Clerk", "deployment 17")}


def test_an_interrupted_enrolment_goes_on_where_it_was(
    clerk: Clerk, extractor: Any, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = extractor.embed
    seen = []

    def interrupted(*arguments: Any, **named: Any) -> Any:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return embed(*arguments, **named)

    monkeypatch.setattr(extractor, "embed", interrupted)
    assert clerk.enrol() == 130
    assert clerk.seal() == 2, "a list that was not enrolled to its end is not sealed"
    measured.clear()
    assert clerk.enrol() == 0
    assert sum(measured) == 1


def test_a_list_with_a_useless_photo_is_not_enrolled_but_what_was_measured_is_kept(
    clerk: Clerk, photo: Callable[..., str], measured: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    photo("none.png", faces=0)
    clerk.write_list("E-2,2.png", "E-4,none.png")
    assert clerk.enrol("--report", clerk.folder / "report") == 2
    shown = capsys.readouterr()
    assert "line 3: E-4 (none.png): no face was found" in shown.err
    assert "1 problem(s); no list was enrolled" in shown.err
    assert "no face was found" in (clerk.folder / "report" / "report.html").read_text("utf-8")
    assert clerk.events("enrolled") == []
    clerk.write_list("E-2,2.png", "E-4,4.png")
    measured.clear()
    assert clerk.enrol() == 0
    assert sum(measured) == 1


def test_references_are_unreadable_without_the_offices_key_and_gone_after_closing(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    work = clerk.folder / "work"
    assert work.stat().st_mode & 0o777 == 0o700
    for path in work.glob("*.age"):
        assert path.read_bytes().startswith(b"age-encryption.org/v1\n")
        assert path.stat().st_mode & 0o777 == 0o600
    assert not any(b"E-2" in path.read_bytes() for path in work.iterdir())
    assert clerk.seal() == 0
    capsys.readouterr()
    assert clerk("close", work) == 0
    assert "order harbour-2026-06-01: van van-1 still owes its erasure receipt" in capsys.readouterr().out
    assert not work.exists()
    (closed,) = clerk.events("workspace-closed")
    assert (closed.order, closed.entries, closed.receipts_owed) == ("harbour-2026-06-01", 3, ("van-1",))


def test_an_interrupted_closing_is_completed(clerk: Clerk) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    (clerk.folder / "work" / "key.age").unlink()
    (clerk.folder / "work" / "index.age").unlink()
    assert clerk("close", clerk.folder / "work") == 0
    assert [event.order for event in clerk.events("workspace-closed")] == ["harbour-2026-06-01"]
    assert not (clerk.folder / "work").exists()


def test_closing_another_folder_touches_nothing(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk("close", clerk.photos) == 2
    assert "is not a workspace" in capsys.readouterr().err
    assert len(list(clerk.photos.iterdir())) == 3


def test_the_registry_answers_after_everything_else_is_gone_and_the_question_is_logged(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    assert clerk("close", clerk.folder / "work") == 0
    capsys.readouterr()
    assert clerk("registry", "--entry", "E-4", "--day", "2026-06-01") == 0
    assert "E-4: order harbour-2026-06-01, 2026-06-01 09:00 to 2026-06-01 17:00 UTC" in capsys.readouterr().out
    assert clerk("registry", "--entry", "E-4", "--day", "2026-06-02") == 0
    assert clerk("registry", "--entry", "E-5") == 0
    assert capsys.readouterr().out == "E-4: on no list of 2026-06-02\nE-5: on no list\n"
    asked = [(event.what, event.entry) for event in clerk.events("consulted")]
    assert asked == [("registry", "E-4"), ("registry", "E-4"), ("registry", "E-5")]


def test_two_officers_sign_one_after_the_other_and_the_same_key_counts_once(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    package = clerk.folder / "x.lfrd"
    one, other = clerk.officer("one"), clerk.officer("other")
    trusted = ("--signer", one / "order.pub", "--signer", other / "order.pub", "--signatures", 2)
    assert clerk("verify", package, *trusted) == 2
    assert clerk("sign", package, "--key", one / "order.key", "--yes") == 0
    assert clerk("sign", package, "--key", one / "order.key", "--yes") == 2
    assert "the same key counts once" in capsys.readouterr().err
    assert clerk("verify", package, *trusted) == 2
    assert clerk("sign", package, "--key", other / "order.key", "--yes") == 0
    capsys.readouterr()
    assert clerk("verify", package, *trusted) == 0
    assert "carries 2 valid signature(s), 2 needed" in capsys.readouterr().out
    signed = clerk.events("order-signed")
    assert [event.key_id for event in signed] == [
        VerifyKey.from_file(folder / "order.pub").key_id for folder in (one, other)
    ]


def test_an_order_alone_can_be_signed_too(clerk: Clerk) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    order = clerk.folder / "order.json"
    with open_package(clerk.folder / "x.lfrd") as package:
        order.write_bytes(package.order)
    officer = clerk.officer("one")
    assert clerk("sign", order, "--key", officer / "order.key", "--yes") == 0
    assert clerk("verify", order, "--signer", officer / "order.pub") == 0


def test_nothing_is_signed_that_nobody_agreed_to(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    before = (clerk.folder / "x.lfrd").read_bytes()
    assert clerk("sign", clerk.folder / "x.lfrd", "--key", clerk.officer("one") / "order.key") == 2
    assert "sign with --yes" in capsys.readouterr().err
    assert (clerk.folder / "x.lfrd").read_bytes() == before
    assert clerk.events("order-signed") == []


def test_a_package_that_was_changed_is_neither_signed_nor_verified(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    officer = clerk.officer("one")
    assert clerk.enrol() == 0
    assert clerk.seal("--key", officer / "order.key") == 0
    package = clerk.folder / "x.lfrd"
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    capsys.readouterr()
    assert clerk("verify", package, "--signer", officer / "order.pub") == 2
    assert clerk("sign", package, "--key", clerk.officer("other") / "order.key", "--yes") == 2
    assert "is not the one that its order names" in capsys.readouterr().err


def test_inspect_shows_the_whole_order_and_no_entry(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    capsys.readouterr()
    assert clerk("inspect", clerk.folder / "x.lfrd") == 0
    shown = capsys.readouterr().out
    assert clerk("inspect", clerk.folder / "x.lfrd", "--json") == 0
    fields = json.loads(capsys.readouterr().out)
    for name in ("id", "purpose", "legal_basis", "place", "authorising_officer", "notice_url", "contract"):
        assert fields[name] in shown
    assert "E-2" not in shown


def test_an_excess_of_the_budget_is_logged_with_who_accepted_it(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    order = ORDER.replace("expected_faces", "budget = 1e-7\nexpected_faces")
    assert clerk.seal(order=order) == 2
    assert "above its budget of 1 false alert in 10,000,000 faces" in capsys.readouterr().err
    assert clerk.events("package-sealed") == []
    accepted = order + '\n[budget_accepted]\nby = "Supt A. Example"\nwhy = "a child is missing"\n'
    assert clerk.seal(order=accepted) == 0
    (event,) = clerk.events("budget-accepted")
    assert (event.by, event.why, event.budget) == ("person:Supt A. Example", "a child is missing", "0.0010")
    assert float(event.expected_false_alerts) > 0.001


def test_a_prekey_is_used_once_and_only_if_its_van_signed_it_and_it_lives_long_enough(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    van, stranger = SigningKey.generate(), SigningKey.generate()
    for name, key in (("van", van), ("stranger", stranger)):
        key.public.to_file(clerk.folder / f"{name}.pub")
    end = datetime(2026, 6, 1, 17, tzinfo=timezone.utc)
    keys = [SealIdentity.generate().recipient for _ in range(3)]
    stock = [
        Prekey(recipient=key, expires_at=end + timedelta(days=days)) for key, days in zip(keys, (9, 5, 0), strict=True)
    ]
    prekeys = Prekeys(force="example", van="van-1", made_at=end, prekeys=tuple(stock))
    (clerk.folder / "prekeys").write_bytes(sign_prekeys(prekeys, van))
    given = ("--prekeys", clerk.folder / "prekeys", "--van-key")
    assert clerk.seal(*given, clerk.folder / "stranger.pub") == 2
    for name in ("one", "two"):
        assert clerk.seal(*given, clerk.folder / "van.pub", "--out", clerk.folder / name) == 0
    assert clerk.seal(*given, clerk.folder / "van.pub", "--out", clerk.folder / "three") == 2
    assert "1 unused of 3 expire before the deployment ends" in capsys.readouterr().err
    used = []
    for name in ("one", "two"):
        with open_package(clerk.folder / name) as package:
            order = Order.from_untrusted(unverified_payload(package.order, Purpose.ORDER))
            used.append(order.vans[0].recipient)
    assert used == [keys[1], keys[0]], "the one that expires first"


def test_a_receipt_settles_what_its_van_owes_and_no_other_does(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    van, stranger = SigningKey.generate(), SigningKey.generate()
    van.public.to_file(clerk.folder / "van.pub")
    with open_package(clerk.folder / "x.lfrd") as package:
        receipt = ErasureReceipt(
            force="example",
            van="van-1",
            order="harbour-2026-06-01",
            order_sha256="1" * 64,
            watchlist_sha256=package.watchlist_sha256,
            cause="window-over",
            erased_at=datetime(2026, 6, 1, 17, tzinfo=timezone.utc),
            level="key-destroyed",
            unverified=("old-blocks",),
        )
    wrong = [
        sign_receipt(receipt, stranger),
        sign_receipt(receipt.model_copy(update={"watchlist_sha256": "2" * 64}), van),
        sign_receipt(receipt.model_copy(update={"order": "another"}), van),
        b"{}",
    ]
    for number, content in enumerate(wrong):
        path = clerk.folder / f"wrong-{number}"
        path.write_bytes(content)
        assert clerk("receipt", path, "--van-key", clerk.folder / "van.pub") == 2
    assert clerk.events("receipt-filed") == []
    (clerk.folder / "receipt").write_bytes(sign_receipt(receipt, van))
    capsys.readouterr()
    assert clerk("receipt", clerk.folder / "receipt", "--van-key", clerk.folder / "van.pub") == 0
    assert "it could not verify: old-blocks" in capsys.readouterr().out
    assert [event.level for event in clerk.events("receipt-filed")] == ["key-destroyed"]
    assert clerk("close", clerk.folder / "work") == 0
    assert [event.receipts_owed for event in clerk.events("workspace-closed")] == [()]


def test_look_alikes_are_shown_and_the_comparison_is_logged(
    clerk: Clerk, photo: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    photo("3.png", who=3)  # 2's twin
    clerk.write_list("E-2,2.png", "E-3,3.png", "E-4,4.png")
    assert clerk.enrol() == 0
    assert "look-alikes: E-2 and E-3 score 0.99" in capsys.readouterr().out
    assert clerk("look-alikes", clerk.folder / "work", "--score", "0.9999") == 0
    assert "0 pairs of 3 entries score 0.9999 or more" in capsys.readouterr().out
    assert [(event.entries, event.pairs) for event in clerk.events("entries-compared")] == [(3, 1), (3, 0)]


def test_who_and_why_must_be_said(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    office = clerk.folder / "desk" / "office.toml"
    arguments = ["office", "registry", "--entry", "E-2", "--office", str(office)]
    assert main(arguments) == 2
    assert 'give --by "..."' in capsys.readouterr().err
    assert main([*arguments, "--by", "J. Clerk"]) == 2
    assert 'give --why "..."' in capsys.readouterr().err
    office.write_text('person = "J. Clerk"\nwhy = "request"\n' + office.read_text("utf-8"), "utf-8")
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('force = "example"', 'force = "No Force"', "force: "),
        ('force = "example"\n', "", "force: field required"),
        ("categories", "kategories", "vocabulary.categories: field required"),
        ('["custody", "family"]', "[]", "vocabulary.sources: "),
        ('["custody", "family"]', '"custody"', "vocabulary.sources: "),
        ('"green"]', '"blue"]', "vocabulary.responses: blue is none of red, amber, green"),
        ("[vocabulary]", "[vocabulary", "office.toml: "),
        ("[vocabulary]", "[words]", "vocabulary: field required"),
        ('log = "office.log"', "log = 1", "log: "),
    ],
)
def test_a_mistake_in_the_offices_file_is_named(
    clerk: Clerk, capsys: pytest.CaptureFixture[str], old: str, new: str, complaint: str
) -> None:
    office = clerk.folder / "desk" / "office.toml"
    text = office.read_text("utf-8")
    assert old in text
    office.write_text(text.replace(old, new), "utf-8")
    assert clerk.enrol() == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "Traceback" not in error
    assert not (clerk.folder / "work").exists()


def test_an_order_of_another_force_is_refused(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal(order=ORDER.replace('force = "example"', 'force = "other"')) == 2
    assert "is of force 'other'" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["enrol", "seal", "look-alikes", "close", "sign", "verify", "inspect"])
def test_what_is_missing_is_one_clear_error(clerk: Clerk, capsys: pytest.CaptureFixture[str], action: str) -> None:
    absent = clerk.folder / "absent"
    recipients = ("--recipient", clerk.key, "--van-recipient", f"van-1={clerk.key}")
    arguments: dict[str, tuple[object, ...]] = {
        "enrol": ("--photos", absent, "--list", absent, "--engine-set", "yunet-mobilefacenet", "--out", absent),
        "seal": (absent, "--order", absent, "--out", absent, *recipients),
        "sign": (absent, "--key", absent),
        "verify": (absent, "--signer", absent),
    }
    before = sorted(clerk.folder.iterdir())
    assert clerk(action, *arguments.get(action, (absent,))) == 2
    error = capsys.readouterr().err
    assert "absent" in error
    assert "fix: " in error
    assert sorted(clerk.folder.iterdir()) == before


@pytest.mark.parametrize("wrong", ["age1...", "age1x", "", "van-1.recipient"])
@pytest.mark.parametrize("option", ["--van-recipient", "--recipient"])
def test_a_key_that_is_none_is_the_options_fault_not_the_orders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, wrong: str
) -> None:
    genuine = SealIdentity.generate().recipient
    recipients = {"--van-recipient": f"van-1={genuine}", "--recipient": genuine}
    recipients[option] = f"van-1={wrong}" if option == "--van-recipient" else wrong
    arguments = ["office", "seal", "work", "--order", "order.toml", "--key", "order.key", "--out", str(tmp_path / "x")]
    assert main([*arguments, *(text for pair in recipients.items() for text in pair)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"lfr-edge: {option}")
    assert "order.toml" not in error
