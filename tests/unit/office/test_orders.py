"""Sealing, signing, receipts and the registry, as the office's commands do them."""

import json
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.bech32 import secret_bytes
from support.clerk import ORDER, Clerk

from lfr_edge.cli.main import main
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, unverified_payload
from lfr_edge.messages.erasure import ErasureReceipt, sign_receipt
from lfr_edge.messages.order import Order
from lfr_edge.messages.prekey import Prekey, Prekeys, sign_prekeys
from lfr_edge.watchlist.package import open_package


def test_the_registry_answers_after_everything_else_is_gone_and_the_question_is_logged(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    assert clerk("close", clerk.folder / "work", "--yes") == 0
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
    assert "nobody has signed this order yet\n  fix: have it signed by an officer" in capsys.readouterr().err
    assert clerk("sign", package, "--key", one / "order.key", "--yes") == 0
    assert clerk("sign", package, "--key", one / "order.key", "--yes") == 2
    assert "the same key counts once" in capsys.readouterr().err
    assert clerk("verify", package, *trusted) == 2
    assert "have it signed by another officer" in capsys.readouterr().err
    assert clerk("verify", package, "--signer", clerk.officer("stranger") / "order.pub") == 2
    assert "carries 1 signature, none by a key that is trusted here" in capsys.readouterr().err
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


def test_copies_of_the_order_that_were_signed_apart_come_together_in_the_package(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    officers = [clerk.officer("one"), clerk.officer("other")]
    copies = []
    for officer in officers:
        copies.append(officer / "order.json")
        with open_package(clerk.folder / "x.lfrd") as package:
            copies[-1].write_bytes(package.order)
        assert clerk("sign", copies[-1], "--key", officer / "order.key", "--yes") == 0
    trusted = [text for officer in officers for text in ("--signer", officer / "order.pub")]
    planted = json.loads(copies[1].read_bytes())
    planted["signatures"][0]["sig"] = "AAAA"
    copies.insert(0, clerk.folder / "planted.json")
    copies[0].write_text(json.dumps(planted), "utf-8")
    assert clerk("merge", clerk.folder / "x.lfrd", *copies, *trusted) == 0
    assert "2 valid signature(s)" in capsys.readouterr().out
    assert clerk("verify", clerk.folder / "x.lfrd", *trusted, "--signatures", 2) == 0


def test_a_file_that_is_no_copy_of_the_order_is_named(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal("--key", clerk.officer("one") / "order.key") == 0
    assert clerk.seal("--out", clerk.folder / "y.lfrd", order=ORDER.replace("harbour", "other")) == 0
    package, signer = clerk.folder / "x.lfrd", ("--signer", clerk.folder / "one" / "order.pub")
    (clerk.folder / "{}").write_bytes(b"{}")
    for copy, said in [
        (clerk.folder / "list.csv", f"{clerk.folder}/list.csv: "),
        (clerk.folder / "{}", f"{clerk.folder}/{{}}: this is not a signed envelope"),
        (clerk.folder / "y.lfrd", f"{clerk.folder}/y.lfrd is not a copy of the order in {package}"),
    ]:
        capsys.readouterr()
        assert clerk("merge", package, copy, *signer) == 2
        assert said in capsys.readouterr().err


def test_what_cannot_be_logged_does_not_happen(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    officer = clerk.officer("one")
    package = clerk.folder / "x.lfrd"
    with clerk.hold_log():
        assert clerk.enrol("--report", clerk.folder / "report") == 2
    assert not (clerk.folder / "report").exists()
    assert clerk.enrol() == 0
    with clerk.hold_log():
        assert clerk.seal() == 2
    assert not package.exists()
    assert clerk.seal() == 0
    before = package.read_bytes()
    capsys.readouterr()
    with clerk.hold_log():
        assert clerk("sign", package, "--key", officer / "order.key", "--yes") == 2
        shown = capsys.readouterr().out
        assert clerk("registry", "--entry", "E-2") == 2
        assert clerk("close", clerk.folder / "work", "--yes") == 2
    assert package.read_bytes() == before
    assert "E-2" not in shown + capsys.readouterr().out
    assert (clerk.folder / "work" / "key.age").exists()
    assert clerk("close", clerk.folder / "work", "--yes") == 0


def test_an_order_whose_window_is_over_is_neither_sealed_nor_signed(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    officer, package = clerk.officer("one"), clerk.folder / "x.lfrd"
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    clerk.clock.advance((datetime(2026, 6, 1, 17, tzinfo=timezone.utc) - clerk.clock.utc()).total_seconds() - 1)
    assert clerk.seal("--out", clerk.folder / "just.lfrd") == 0
    clerk.clock.advance(1)
    capsys.readouterr()
    assert clerk.seal("--out", clerk.folder / "late.lfrd") == 2
    said = "order.toml ended at 2026-06-01 17:00 UTC, and it is 2026-06-01 17:00"
    assert said in capsys.readouterr().err
    assert not (clerk.folder / "late.lfrd").exists()
    before = package.read_bytes()
    assert clerk("sign", package, "--key", officer / "order.key", "--yes") == 2
    assert "the window of order 'harbour-2026-06-01' ended" in capsys.readouterr().err
    assert package.read_bytes() == before
    assert clerk.events("order-signed") == []


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


def test_what_is_within_the_budget_needs_nobody_to_accept_it(clerk: Clerk) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal(order=ORDER + '\n[budget_accepted]\nby = "Supt A. Example"\nwhy = "to be safe"\n') == 0
    assert clerk.events("budget-accepted") == []


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
    assert clerk.seal(*given, f"van-1={clerk.folder}/stranger.pub") == 2
    said = f"{clerk.folder}/prekeys was not signed with the key of van 'van-1', {clerk.folder}/stranger.pub"
    assert said in capsys.readouterr().err
    assert clerk.seal(*given, f"van-2={clerk.folder}/van.pub") == 2
    assert "is of van 'van-1' of 'example', not of 'van-2'" in capsys.readouterr().err
    assert clerk.seal(*given, f"{clerk.folder}/van.pub") == 2
    assert "fix: write VAN=FILE" in capsys.readouterr().err
    for name in ("one", "two"):
        assert clerk.seal(*given, f"van-1={clerk.folder}/van.pub", "--out", clerk.folder / name) == 0
    assert clerk.seal(*given, f"van-1={clerk.folder}/van.pub", "--out", clerk.folder / "three") == 2
    assert "1 unused of 3 expire before the deployment ends" in capsys.readouterr().err
    used = []
    for name in ("one", "two"):
        with open_package(clerk.folder / name) as package:
            order = Order.from_untrusted(unverified_payload(package.order, Purpose.ORDER))
            used.append(order.vans[0].recipient)
    assert used == [keys[1], keys[0]], "the one that expires first"
    assert clerk.seal("--van-recipient", f"van-1={keys[0]}", "--out", clerk.folder / "four") == 2
    assert "was used for order 'harbour-2026-06-01'" in capsys.readouterr().err
    foreign = prekeys.model_copy(update={"force": "other"})
    (clerk.folder / "prekeys").write_bytes(sign_prekeys(foreign, van))
    assert clerk.seal(*given, f"van-1={clerk.folder}/van.pub", "--out", clerk.folder / "four") == 2
    assert "is of van 'van-1' of 'other', not of 'van-1' of 'example'" in capsys.readouterr().err
    assert not (clerk.folder / "four").exists()


def test_a_receipt_settles_what_its_van_owes_and_no_other_does(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    assert clerk.seal("--out", clerk.folder / "y.lfrd") == 0, "sealed again; the van loaded the first"
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
        sign_receipt(receipt.model_copy(update={"force": "other"}), van),
        sign_receipt(receipt.model_copy(update={"van": "van-2"}), van),
        b"{}",
    ]
    for number, content in enumerate(wrong):
        path = clerk.folder / f"wrong-{number}"
        path.write_bytes(content)
        assert clerk("receipt", path, "--van-key", f"van-1={clerk.folder}/van.pub") == 2
        if not number:
            assert f"{path} was not signed with the key of van 'van-1'" in capsys.readouterr().err
    assert clerk.events("receipt-filed") == []
    (clerk.folder / "receipt").write_bytes(sign_receipt(receipt, van))
    capsys.readouterr()
    assert clerk("receipt", clerk.folder / "receipt", "--van-key", f"van-1={clerk.folder}/van.pub") == 0
    said = capsys.readouterr().out
    assert "it could not verify: old-blocks" in said
    assert "before its window" not in said
    assert [event.level for event in clerk.events("receipt-filed")] == ["key-destroyed"]
    doubtful = receipt.model_copy(update={"erased_at": datetime(2026, 6, 1, 8, 59, tzinfo=timezone.utc)})
    (clerk.folder / "receipt").write_bytes(sign_receipt(doubtful, van))
    assert clerk("receipt", clerk.folder / "receipt", "--van-key", f"van-1={clerk.folder}/van.pub") == 0
    said = capsys.readouterr().out
    assert "that is before its window, which begins at 2026-06-01 09:00 UTC" in said
    assert "(the van says 'window-over'), or the van's clock was in doubt" in said
    assert clerk("close", clerk.folder / "work", "--yes") == 0
    assert [event.receipts_owed for event in clerk.events("workspace-closed")] == [()]


def test_an_order_of_another_force_is_refused(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal(order=ORDER.replace('force = "example"', 'force = "other"')) == 2
    assert "is of force 'other'" in capsys.readouterr().err


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


def test_a_key_id_that_would_steer_a_terminal_is_not_shown(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    with open_package(clerk.folder / "x.lfrd") as package:
        envelope = json.loads(package.order)
    envelope["signatures"] = [{"keyid": "\x1b[2J", "sig": "AAAA"}]
    (clerk.folder / "order.json").write_text(json.dumps(envelope), "utf-8")
    capsys.readouterr()
    assert clerk("inspect", clerk.folder / "order.json") == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "without a proper id" in shown


UNLOCKED = ORDER.replace("demo = false", 'demo = false\nunlock = "required"\nno_swap = true')


def test_the_share_is_in_its_own_file_and_nowhere_else(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk.enrol() == 0
    share = clerk.folder / "apart" / "share.txt"
    share.parent.mkdir()
    assert clerk.seal("--share", share, order=UNLOCKED) == 0
    assert stat.S_IMODE(share.stat().st_mode) == 0o600
    identity = SealIdentity.from_file(share)
    said = capsys.readouterr()
    assert f"{share}: the unlock share of order 'harbour-2026-06-01'" in said.out
    with open_package(clerk.folder / "x.lfrd") as package:
        order = Order.from_untrusted(unverified_payload(package.order, Purpose.ORDER))
    assert (order.unlock, order.unlock_recipient) == ("required", identity.recipient)
    secrets = (identity.secret.encode(), identity.secret.lower().encode(), secret_bytes(identity))
    left = [path for path in clerk.folder.rglob("*") if path.is_file() and path != share]
    assert len(left) > 5
    for content in [path.read_bytes() for path in left] + [said.out.encode(), said.err.encode()]:
        assert not [secret for secret in secrets if secret in content]


def test_without_a_file_for_the_share_nothing_is_sealed_and_without_need_there_is_none(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal(order=UNLOCKED) == 2
    assert "--share FILE" in capsys.readouterr().err
    assert clerk.seal("--share", clerk.folder / "share.txt") == 2
    assert 'unlock = "required"' in capsys.readouterr().err
    (clerk.folder / "share.txt").write_text("of another order", "utf-8")
    assert clerk.seal("--share", clerk.folder / "share.txt", order=UNLOCKED) == 2
    assert (clerk.folder / "share.txt").read_text("utf-8") == "of another order"
    assert not (clerk.folder / "x.lfrd").exists()
    assert clerk.events("package-sealed") == []


def test_what_costs_nothing_to_find_out_is_said_before_a_passphrase_is_asked(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    (clerk.folder / "desk" / "workspace.age").unlink()
    taken, nowhere, share = clerk.folder / "list.csv", clerk.folder / "no" / "x", clerk.folder / "share.txt"
    for arguments, order, said in [
        (("--out", taken), ORDER, f"{taken} exists already"),
        (("--out", nowhere), ORDER, f"there is no folder {nowhere.parent}"),
        (("--share", taken), UNLOCKED, f"{taken} exists already"),
        (("--share", nowhere), UNLOCKED, f"there is no folder {nowhere.parent}"),
        (("--share", share), ORDER, "asks for no unlock share"),
        (("--prekeys", clerk.folder / "absent", "--van-key", "van-1=x"), ORDER, "absent"),
        ((), ORDER, "workspace.age"),
    ]:
        capsys.readouterr()
        assert clerk.seal(*arguments, order=order) == 2
        assert said in capsys.readouterr().err
    assert not share.exists()


def test_a_seal_that_fails_leaves_no_share(clerk: Clerk) -> None:
    assert clerk.enrol() == 0
    with clerk.hold_log():
        assert clerk.seal("--share", clerk.folder / "share.txt", order=UNLOCKED) == 2
    assert not (clerk.folder / "share.txt").exists()
