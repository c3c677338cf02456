"""The command line: what is imported for which role, and how it ends."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lfr_edge.cli import main as command_line
from lfr_edge.cli.main import main
from lfr_edge.errors import ConfigError, Reason

HEAVY = ("numpy", "openvino", "av", "onnx", "PIL", "paho", "rich", "pyrage", "safetensors")


def loaded(*arguments: str) -> set[str]:
    """Which heavy packages are imported after showing a command's help in a fresh interpreter."""
    program = f"""
import sys
from lfr_edge.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_the_list_of_commands_imports_nothing_heavy() -> None:
    assert loaded("--help") == set()


def test_a_control_room_needs_neither_numpy_nor_engines() -> None:
    assert loaded("control-room", "watch", "--help") <= {"pyrage", "paho", "rich"}


def test_the_van_loads_its_libraries_only_after_it_has_restarted_itself() -> None:
    assert loaded("run", "--help") == set()


def test_what_a_command_multiplies_it_multiplies_on_one_thread() -> None:
    program = """
import os, sys
from lfr_edge.cli.main import main
try:
    main(["--help"])
except SystemExit:
    import numpy
    print("threads:", len(os.listdir("/proc/self/task")))
"""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "threads: 1"


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["run", "--pakage", "x"], ["office", "nothing"]])
def test_a_wrong_command_line_is_an_error_with_its_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: lfr-edge")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A command that does what the test says."""
    command = SimpleNamespace(add_arguments=lambda _parser: None, run=lambda _options: 0)
    monkeypatch.setattr(command_line.importlib, "import_module", lambda _name: command)
    return command


def test_an_error_of_ours_is_one_line_and_its_fix(failing: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def run(_options: object) -> int:
        raise ConfigError(Reason.FILE_MISSING, "there is no x", fix="make one")

    failing.run = run
    assert main(["audit"]) == 2
    assert capsys.readouterr().err == "lfr-edge: there is no x\n  fix: make one\n"


def test_ctrl_c_is_no_traceback(failing: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def run(_options: object) -> int:
        raise KeyboardInterrupt

    failing.run = run
    assert main(["audit"]) == 130
    assert capsys.readouterr().err == ""


SAYS = """
import sys
from types import SimpleNamespace
from lfr_edge.cli import main as command_line
from lfr_edge.errors import ConfigError, Reason

def run(_options):
    print("a line")
    if "wrong" in sys.argv:
        raise ConfigError(Reason.FILE_MISSING, "there is no x", fix="make one")
    if "fault" in sys.argv:
        raise RuntimeError("a fault of ours")
    return 0

if "--help" not in sys.argv:
    command = SimpleNamespace(add_arguments=lambda parser: parser.add_argument("what"), run=run)
    command_line.importlib.import_module = lambda _name: command
sys.exit(command_line.main())
"""


@pytest.mark.parametrize("left", ["stdout", "stderr"])
@pytest.mark.parametrize("arguments", [["--help"], ["audit", "something"], ["audit", "wrong"]])
def test_who_reads_the_output_may_leave_at_any_time(arguments: list[str], left: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, left: writer}
    command = [sys.executable, "-c", SAYS, *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    try:
        done = subprocess.run(command, text=True, check=False, env=environment, **streams)  # type: ignore[call-overload]
    finally:
        os.close(writer)
    said_there = left == "stdout" or arguments == ["audit", "wrong"]
    assert done.returncode == (141 if said_there else 0)
    if left == "stdout":
        assert "Broken" not in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reader_who_leaves_hides_no_fault_of_ours() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", SAYS, "audit", "fault"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, text=True, check=False, env=environment, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.returncode not in {0, 141}
    assert "RuntimeError: a fault of ours" in done.stderr


def test_another_pipe_that_broke_is_not_taken_for_the_reader(failing: SimpleNamespace) -> None:
    def run(_options: object) -> int:
        raise BrokenPipeError

    failing.run = run
    with pytest.raises(BrokenPipeError):
        main(["audit"])


def test_a_commands_own_status_is_passed_on(failing: SimpleNamespace) -> None:
    failing.run = lambda _options: 1
    assert main(["audit"]) == 1


def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, "lfr_edge.cli.demo", raising=False)
    assert main(["demo"]) == 2
    assert "needs the Python package 'rich" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "control-room stop",
            "--broker b:1 --ca x --cert x --key x --command-key x --van v --by B --why W --order",
        ),
        ("deployment clock-sign", "--key x --van van-1 --by B --why W --out x --challenge"),
    ],
)
def test_an_option_that_no_message_can_hold_is_named(
    command: str, options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "Not an id!"
    assert main([*command.split(), "--force", "example", *options.split(), wrong]) == 2
    said = capsys.readouterr().err
    option = options.rpartition("--")[2]
    assert f"{option} must be" in said
    assert wrong not in said
    assert "version" not in said
