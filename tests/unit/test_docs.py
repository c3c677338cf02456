"""What the documents point at is there, and what they tell people to type can be typed."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lfr_edge.cli.main import _parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_OUR_PATH = re.compile(r"`((?:lfr_edge|tests|docs|engines|examples|deploy)/[\w./-]+)`")


def prose(document: Path) -> str:
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


def anchors(document: Path) -> set[str]:
    """Heading anchors as code hosts make them: lower case, spaces to hyphens, punctuation dropped."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> list[str]:
    broken = []
    for target in _LINK.findall(prose(document)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name) if name else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    return broken


def commands(document: Path) -> Iterator[str]:
    """Lines of code blocks that begin with `lfr-edge `, continued lines joined."""
    for block in _FENCE.findall(document.read_text(encoding="utf-8")):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if line.startswith("lfr-edge "))


def parsed(command: str) -> bool:
    try:
        _parse(shlex.split(command, comments=True)[1:])
    except SystemExit as refused:
        return refused.code == 0
    return True


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    assert broken_links(document) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_path_of_ours_exists(document: Path) -> None:
    assert [path for path in _OUR_PATH.findall(prose(document)) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_command_can_be_typed(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = [command for command in commands(document) if not parsed(command)]
    assert refused == [], capsys.readouterr().err


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {target.partition("#")[0] for target in _LINK.findall(index)}
    written = {str(document.relative_to(ROOT / "docs")) for document in DOCUMENTS[1:]} - {"README.md"}
    assert written - linked == set()


def test_the_documented_layers_are_the_enforced_ones() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    blocks = _FENCE.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert "\n".join(layers) + "\n" in blocks


def test_the_checks_see_what_is_wrong(tmp_path: Path) -> None:
    document = tmp_path / "wrong.md"
    document.write_text("# One\n[a](gone.md) [b](#two) [c](#one)\n```\nlfr-edge run --pakage \\\n  x\n```\n", "utf-8")
    assert broken_links(document) == ["gone.md", "#two"]
    assert [parsed(command) for command in commands(document)] == [False]
