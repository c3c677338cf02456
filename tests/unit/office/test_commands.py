"""The office's commands where they need no models."""

from pathlib import Path

import pytest

from lfr_edge.cli.main import main
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign, verify


def test_keygen_makes_a_pair_of_which_the_private_half_is_the_owners(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "keys"
    assert main(["office", "keygen", "--out", str(folder)]) == 0
    assert (folder / "order.key").stat().st_mode & 0o777 == 0o600
    envelope = sign(b"{}", Purpose.ORDER, [SigningKey.from_file(folder / "order.key")])
    assert verify(envelope, Purpose.ORDER, [VerifyKey.from_file(folder / "order.pub")]) == b"{}"


@pytest.mark.parametrize("survivor", ["order.key", "order.pub"])
def test_keygen_never_overwrites_either_half(tmp_path: Path, capsys: pytest.CaptureFixture[str], survivor: str) -> None:
    (tmp_path / survivor).write_text("precious", "utf-8")
    assert main(["office", "keygen", "--out", str(tmp_path)]) == 2
    assert f"{survivor} exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [survivor]
    assert (tmp_path / survivor).read_text("utf-8") == "precious"


def test_keygen_into_a_file_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    assert main(["office", "keygen", "--out", str(tmp_path / "file")]) == 2
    assert "cannot be made" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["enrol", "seal"])
def test_what_is_missing_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    absent, recipient = str(tmp_path / "absent"), SealIdentity.generate().recipient
    arguments = {
        "enrol": [
            "--photos",
            absent,
            "--list",
            absent,
            "--engine-set",
            "yunet-mobilefacenet",
            "--out",
            absent + "-out",
        ],
        "seal": [absent, "--order", absent, "--key", absent, "--out", absent, "--recipient", recipient],
    }
    extra = ["--van-recipient", f"van-1={recipient}"] if command == "seal" else []
    assert main(["office", command, *arguments[command], *extra]) == 2
    error = capsys.readouterr().err
    assert "absent" in error
    assert "fix: " in error
    assert list(tmp_path.iterdir()) == []


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
