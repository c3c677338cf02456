"""`office.toml`: whose office this is, where its keys, log and registry lie, and the words that its lists may use.

Paths in it count from its own folder. What an order or a list says is not here.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from lfr_edge.audit.fields import Actor, Event
from lfr_edge.audit.log import AuditLog
from lfr_edge.audit.office_events import RegistryWritten
from lfr_edge.audit.reader import LogReader, open_log
from lfr_edge.clock import Clock
from lfr_edge.crypto.key_files import AskPassphrase
from lfr_edge.crypto.notes import NoteSigner
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.messages.fields import Distinct, Identifier, Message, Text, complaints
from lfr_edge.office.listing import Vocabulary
from lfr_edge.watchlist.entries import RESPONSES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OFFICE_FILE = "office.toml"
LOG_KEY, LOG_PUBLIC, WORKSPACE_KEY = "log.key", "log.pub", "workspace.age"

_Words = Annotated[tuple[Text, ...], Field(min_length=1), Distinct]
_FileName = Annotated[str, StringConstraints(pattern=r"^[^\x00]{1,1000}$")]


class _Vocabulary(Message):
    categories: _Words
    legal_bases: _Words
    sources: _Words
    responses: Annotated[tuple[str, ...], Field(min_length=1), Distinct] = ("red", "amber", "green")


class _OfficeFile(Message):
    force: Identifier
    person: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    why: Text | None = None
    log: _FileName = "office.log"
    registry: _FileName = "registry.jsonl"
    log_key: _FileName = LOG_KEY
    workspace_key: _FileName = WORKSPACE_KEY
    vocabulary: _Vocabulary


class _Acting(Message):
    """What every event of the log says."""

    by: Actor
    why: Text


@dataclass(frozen=True, slots=True)
class Journal:
    """The office's log, open only around an append; and who acts now, and why."""

    path: Path
    signer: NoteSigner
    clock: Clock
    by: str
    why: str

    def check(self) -> None:
        """ConfigError or DeviceError if nothing can be recorded now: before what takes long, or cannot be undone."""
        with AuditLog.open(self.path, self.signer, self.clock):
            pass

    def registry_digests(self) -> list[str]:
        """Digests of the registry's lines, as the log has them; nothing if there is no log yet.

        UntrustedInputError if the log was changed.
        """
        if not self.path.exists():
            return []
        with open_log(self.path) as file:
            reader = LogReader(file, self.signer.verifier.key)
            entries = [entry for entry in reader.entries() if isinstance(entry.event, RegistryWritten)]
        signed = [entry.event for entry in entries if entry.index < reader.tree.size]
        return [event.line_sha256 for event in signed if isinstance(event, RegistryWritten)]

    def record(self, *events: Event) -> None:
        """Append to the log; returns when it is safe on the disk."""
        with AuditLog.open(self.path, self.signer, self.clock) as log:
            log.append(*events)


@dataclass(frozen=True, slots=True)
class Desk:
    """An office as its file describes it."""

    path: Path
    force: str
    registry: Path
    vocabulary: Vocabulary
    _file: _OfficeFile

    def journal(self, clock: Clock, *, by: str | None, why: str | None) -> Journal:
        """Who acts, and why: as given, else as the office's file says. ConfigError if neither does."""
        by, why = by or self._file.person, why or self._file.why
        for value, option, key in ((by, "--by", "person"), (why, "--why", "why")):
            if not value:
                raise ConfigError(
                    Reason.VALUE_INVALID,
                    f"the log needs to know {'who does this' if key == 'person' else 'why this is done'}",
                    fix=f'give {option} "...", or set {key} in {self.path}',
                )
        by, why = f"person:{by}", str(why)
        try:
            _Acting(by=by, why=why)
        except ValidationError as error:
            raise ConfigError(
                Reason.VALUE_INVALID,
                f"the log cannot hold what was given: {'; '.join(complaints(error))}",
                fix="give one line of text: --by NAME, at most 200 characters, and --why TEXT, at most 500",
            ) from error
        signer = NoteSigner(f"lfr-edge/{self.force}/office", SigningKey.from_file(self._beside(self._file.log_key)))
        return Journal(self._beside(self._file.log), signer, clock, by, why)

    def workspace_identity(self, ask: AskPassphrase) -> SealIdentity:
        """The key that every workspace's own key is sealed to."""
        return SealIdentity.from_file(self._beside(self._file.workspace_key), ask)

    def _beside(self, name: str) -> Path:
        return self.path.parent / name


def read_desk(path: Path) -> Desk:
    """The office of this file. ConfigError names what is wrong in it."""
    try:
        fields = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING,
            f"the office's file {path} cannot be read: {error.strerror}",
            fix="give --office FILE, or make one with 'lfr-edge office setup'",
        ) from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise _malformed(path, str(error)) from error
    vocabulary = fields.get("vocabulary")
    if isinstance(vocabulary, dict):  # strict models take tuples, and TOML has lists
        fields["vocabulary"] = {key: _as_tuple(value) for key, value in vocabulary.items()}
    try:
        file = _OfficeFile.model_validate(fields)
    except ValidationError as error:
        raise _malformed(path, "; ".join(complaints(error, own=True))) from error
    words = file.vocabulary
    unknown = sorted(set(words.responses) - set(RESPONSES))
    if unknown:
        raise _malformed(path, f"vocabulary.responses: {', '.join(unknown)} is none of {', '.join(RESPONSES)}")
    allowed = Vocabulary(words.categories, words.legal_bases, words.sources, words.responses)
    return Desk(path, file.force, path.parent / file.registry, allowed, file)


def new_office_file(force: str) -> str:
    """The text of a new office's file, to be adapted."""
    return f"""\
force = "{force}"
# person = "J. Clerk"     # who works at this desk, where --by is not given
# why = "deployment"      # the reason, where --why is not given
log = "office.log"
registry = "registry.jsonl"

# The only words that a list may use: adapt them to your policy.
[vocabulary]
categories = ["wanted on warrant", "suspected of an offence", "missing and vulnerable"]
legal_bases = ["PACE 1984, s.64A", "common law"]
sources = ["custody", "family"]
responses = ["red", "amber", "green"]
"""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _malformed(path: Path, what: str) -> ConfigError:
    return ConfigError(
        Reason.FILE_MALFORMED, f"{path}: {what}", fix="correct the key(s); docs/office.md has an example"
    )
