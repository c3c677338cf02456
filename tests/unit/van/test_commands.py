"""Commands from afar: only from trusted keys, only for this van, any number of times, and never to see."""

from datetime import datetime, timezone

import pytest

from lfr_edge.clock import ManualClock
from lfr_edge.crypto.signing import Purpose, SigningKey, sign
from lfr_edge.errors import PolicyError, Reason
from lfr_edge.messages.command import CommandResult, StopCommand, sign_command
from lfr_edge.van.commands import Commands

COMMANDER, OFFICER = SigningKey.generate(), SigningKey.generate()
STOP = StopCommand(force="example", van="van-1", order="order-1", revoke=False, by="Insp B", why="operation ended")


class Van:
    """Carries out, or refuses."""

    def __init__(self, *trusted: SigningKey) -> None:
        self.carried_out: list[StopCommand] = []
        clock = ManualClock(datetime(2026, 6, 20, tzinfo=timezone.utc))
        self.commands = Commands("example", "van-1", [key.public for key in trusted], self._carry_out, clock)
        self.loaded: str | None = None

    def _carry_out(self, command: StopCommand) -> str | None:
        self.carried_out.append(command)
        return self.loaded

    def told(self, untrusted: bytes) -> str | None:
        """The reason of its refusal."""
        self.commands.receive(untrusted)
        answer = self.commands.next_answer()
        assert answer is not None
        self.commands.answered(answer)
        assert (answer.outcome == "done") == (answer.reason is None)
        return answer.reason


def test_a_command_of_a_trusted_key_is_carried_out_every_time_it_comes() -> None:
    van = Van(COMMANDER)
    assert van.told(sign_command(STOP, COMMANDER)) is None
    assert van.told(sign_command(STOP, COMMANDER)) is None
    assert van.carried_out == [STOP, STOP]


@pytest.mark.parametrize(
    ("untrusted", "reason"),
    [
        (sign_command(STOP, OFFICER), Reason.SIGNER_UNKNOWN),
        (sign(STOP.to_json(), Purpose.ORDER, [COMMANDER]), Reason.SIGNATURE_INVALID),
        (sign_command(STOP, COMMANDER).replace(b"payload", b"qayload", 1), Reason.MALFORMED),
        (sign(b"{}", Purpose.COMMAND, [COMMANDER]), Reason.MALFORMED),
        (sign_command(STOP.model_copy(update={"van": "van-2"}), COMMANDER), Reason.WRONG_VAN),
        (sign_command(STOP.model_copy(update={"force": "elsewhere"}), COMMANDER), Reason.WRONG_VAN),
        (b"x" * 20_000, Reason.MALFORMED),
        (b"", Reason.MALFORMED),
    ],
)
def test_anything_else_is_refused_and_answered(untrusted: bytes, reason: Reason) -> None:
    van = Van(COMMANDER)
    assert van.told(untrusted) == reason.value
    assert van.carried_out == []


def test_a_van_that_trusts_nobody_takes_no_command() -> None:
    van = Van()
    assert van.told(sign_command(STOP, COMMANDER)) == Reason.SIGNER_UNKNOWN.value


def test_a_refusal_of_the_van_is_the_answer() -> None:
    van = Van(COMMANDER)

    def refuse(_: StopCommand) -> str | None:
        raise PolicyError(Reason.FILE_UNWRITABLE, "the disk is full", fix="make room")

    van.commands._carry_out = refuse
    assert van.told(sign_command(STOP, COMMANDER)) == Reason.FILE_UNWRITABLE.value


@pytest.mark.parametrize("loaded", [None, "order-2"])
def test_an_order_that_is_loaded_all_the_same_is_part_of_the_answer(loaded: str | None) -> None:
    van = Van(COMMANDER)
    van.loaded = loaded
    van.commands.receive(sign_command(STOP, COMMANDER))
    answer = van.commands.next_answer()
    assert answer is not None
    assert (answer.outcome, answer.loaded) == ("done", loaded)
    assert (b"loaded" in answer.to_json()) == (loaded is not None), "an earlier control room knows no such member"
    assert CommandResult.from_untrusted(answer.to_json()) == answer


def test_a_flood_keeps_the_last_hundred_answers() -> None:
    van = Van(COMMANDER)
    for _ in range(300):
        van.commands.receive(b"nonsense")
    answers = 0
    while (answer := van.commands.next_answer()) is not None:
        van.commands.answered(answer)
        answers += 1
    assert answers == 100
