"""`office enrol` and `office look-alikes`: from photos to references, with a report."""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.audit.events import Consulted
from lfr_edge.audit.fields import Event
from lfr_edge.audit.office_events import Enrolled, EntriesCompared, EntryAltered, EntryRemoved
from lfr_edge.biometrics.arena import Arena
from lfr_edge.cli.office_keys import ask_passphrase
from lfr_edge.clock import SystemClock
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import require_new
from lfr_edge.inference.manifest import EngineSet, load_engine_set
from lfr_edge.inference.store import EngineStore
from lfr_edge.office import workspace
from lfr_edge.office.assess import Verdict
from lfr_edge.office.desk import Journal, read_desk
from lfr_edge.office.enrol import Photo, measure_photos, sha256_of_photo
from lfr_edge.office.listing import Problem, Row, differing_fields, list_bytes, read_list
from lfr_edge.office.references import References, gather, unusable
from lfr_edge.office.report import QualityReport
from lfr_edge.office.workspace import Workspace
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.watchlist.crowding import extent
from lfr_edge.watchlist.lookalikes import Comparison, compare

_EXIT_PROBLEMS = 2  # as for every other mistake of the user's
_WORKING_BYTES = 64 << 20  # a few photos at 640 px and what the engines make of them
_THREADS = 2
_MOST_SHOWN = 20


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 2 if a photo or a line of the list has to be mended first."""
    return _enrol(args) if args.action == "enrol" else _look_alikes(args)


@dataclass(frozen=True, slots=True)
class _Given:
    """The list as it was read, and the digest of those very bytes."""

    rows: Sequence[Row]
    sha256: str


def _enrol(args: argparse.Namespace) -> int:
    desk = read_desk(args.office)
    clock = SystemClock()
    journal = desk.journal(clock, by=args.by, why=args.why)
    if args.report is not None:
        require_new(args.report)
    again = workspace.exists(args.out)
    content = list_bytes(args.list)  # once: what is logged is the digest of what was read
    today = clock.utc().astimezone().date()  # the clerk's: a photo of this morning is not from the future
    rows, problems = read_list(args.list, args.photos, desk.vocabulary, today=today, content=content)
    if problems:
        return _show_problems(args.list, problems)
    journal.check()
    engine_set = load_engine_set(args.engine_set, args.manifests)
    identity = desk.workspace_identity(ask_passphrase)
    if not again:
        with _engines(args, engine_set):  # what is missing is said before anything is made
            workspace.create(args.out, identity, engine_set)
    with workspace.locked(args.out):
        work = workspace.open_workspace(args.out, identity)
        workspace.require_contract(work, engine_set)
        given = _Given(rows, hashlib.sha256(content).hexdigest())
        return _enrol_into(work, given, args, engine_set, journal)


def _enrol_into(
    work: Workspace, given: _Given, args: argparse.Namespace, engine_set: EngineSet, journal: Journal
) -> int:
    rows = given.rows
    photos = _measure_all(rows, work, args, engine_set)
    problems = unusable(rows, photos)
    references = None if problems else gather(rows, photos, engine_set=engine_set.name, contract=engine_set.contract)
    compared = None if references is None else _compare(references, engine_set.threshold_floor)
    entries = [] if references is None else [entry.id for entry in references.entries]
    report = QualityReport(engine_set, rows, photos, entries, compared)
    if args.report is not None:
        journal.record(Consulted(by=journal.by, why=journal.why, what="report"))
        report.write(args.report)
        print(f"{args.report}/report.html: look at it, then delete it")
    if references is None or compared is None:
        return _show_problems(args.list, problems)
    _keep(_Kept(work, given, photos, references), journal, compared)
    _show(report, work)
    print(_lowered(references))
    return 0


@contextmanager
def _engines(args: argparse.Namespace, engine_set: EngineSet) -> Iterator[tuple[Extractor, Arena]]:
    arena = Arena(_WORKING_BYTES)
    extractor = open_extractor(engine_set, EngineStore(args.store), arena, threads=_THREADS)
    try:
        yield extractor, arena
    finally:
        extractor.close()


def _measure_all(rows: Sequence[Row], work: Workspace, args: argparse.Namespace, engine_set: EngineSet) -> list[Photo]:
    """A photo for each row. What was measured before is not measured again; what is new is kept as it comes."""
    known = work.photos
    digests = {path: sha256_of_photo(path) for path in {row.photo for row in rows}}
    new = list({digest: path for path, digest in digests.items() if digest not in known}.values())
    if len(new) < len(digests):
        print(f"{len(digests) - len(new)} of {len(digests)} photos were measured before")
    if new:
        with _engines(args, engine_set) as (extractor, arena):
            batch: list[Photo] = []
            try:
                for number, photo in enumerate(measure_photos(new, extractor, arena), start=1):
                    batch.append(photo)
                    if len(batch) == workspace.BATCH:
                        work.add(batch)
                        batch = []
                    _progress(number, len(new))
            finally:
                if batch:
                    work.add(batch)
    known = work.photos
    try:
        return [known[digests[row.photo]] for row in rows]
    except KeyError as error:
        raise ConfigError(
            Reason.FILE_MALFORMED, "a photo changed while it was read", fix="run it again when nobody changes photos"
        ) from error


def _progress(number: int, total: int) -> None:
    if sys.stderr.isatty() and (number % 10 == 0 or number == total):
        print(f"\r{number} of {total} photos", end="\n" if number == total else "", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is to become the enrolled list."""

    work: Workspace
    given: _Given
    photos: Sequence[Photo]
    references: References


def _keep(new: _Kept, journal: Journal, compared: Comparison) -> None:
    """Log what is collected, altered, erased and compared, then make it the list."""
    by, why = journal.by, journal.why
    enrolled = Enrolled(
        by=by,
        why=why,
        list_sha256=new.given.sha256,
        references_sha256=new.references.sha256,
        contract=new.references.contract,
        entries=len(new.references.entries),
        photos=sum(photo.usable for photo in new.photos),
        photos_refused=sum(not photo.usable for photo in new.photos),
    )
    journal.record(*_changes(new, journal), enrolled, _compared_event(journal, new.references, compared))
    new.work.finish(new.given.rows, new.photos, new.given.sha256)


def _changes(new: _Kept, journal: Journal) -> list[Event]:
    """What differs from the list that was enrolled before in this workspace."""
    if not new.work.has_list():
        return []
    by, why = journal.by, journal.why
    before, after = _by_entry(new.work.rows()), _by_entry(list(zip(new.given.rows, new.photos, strict=True)))
    events: list[Event] = [EntryRemoved(by=by, why=why, entry=entry) for entry in before if entry not in after]
    for entry, pairs in after.items():
        if entry not in before:
            continue
        fields = differing_fields(before[entry][0][0].particulars, pairs[0][0].particulars)
        if _photos_of(before[entry]) != _photos_of(pairs):
            fields.append("photo")
        if fields:
            events.append(EntryAltered(by=by, why=why, entry=entry, fields=tuple(fields)))
    return events


def _by_entry(pairs: Sequence[tuple[Row, Photo]]) -> dict[str, list[tuple[Row, Photo]]]:
    entries: dict[str, list[tuple[Row, Photo]]] = {}
    for row, photo in pairs:
        entries.setdefault(row.particulars.id, []).append((row, photo))
    return entries


def _photos_of(pairs: Sequence[tuple[Row, Photo]]) -> set[tuple[str, str, str]]:
    return {(photo.sha256, row.particulars.source, str(row.particulars.captured)) for row, photo in pairs}


def _compare(references: References, score: float) -> Comparison:
    return compare(references.templates, references.entry_of_template, alike=score, unlike=score)


def _compared_event(journal: Journal, references: References, compared: Comparison) -> EntriesCompared:
    return EntriesCompared(
        by=journal.by,
        why=journal.why,
        references_sha256=references.sha256,
        entries=len(references.entries),
        pairs=len(compared.look_alikes),
    )


def _look_alikes(args: argparse.Namespace) -> int:
    if args.score is not None and not -1 <= args.score <= 1:
        raise ConfigError(Reason.VALUE_INVALID, f"{args.score} is not a score", fix="give one from -1 to 1")
    desk = read_desk(args.office)
    journal = desk.journal(SystemClock(), by=args.by, why=args.why)
    work = workspace.open_workspace(args.work, desk.workspace_identity(ask_passphrase))
    engine_set = load_engine_set(work.engine_set, args.manifests)
    workspace.require_contract(work, engine_set)
    pairs = work.rows()
    references = work.references()
    score = engine_set.threshold_floor if args.score is None else args.score
    compared = _compare(references, score)
    journal.record(_compared_event(journal, references, compared))
    rows, photos = [row for row, _ in pairs], [photo for _, photo in pairs]
    report = QualityReport(engine_set, rows, photos, [entry.id for entry in references.entries], compared)
    for warning in report.warnings():
        print(warning)
    print(f"{len(compared.look_alikes)} pairs of {len(references.entries)} entries score {score:g} or more")
    print(_lowered(references))
    return 0


def _lowered(references: References) -> str:
    count, most = extent(references.templates, references.entry_of_template)
    if not count:
        return "no entry's scores are lowered for resembling others on this list"
    return f"{count} entries resemble others on this list: a van lowers their scores, by {most:.3f} at the most"


def _show_problems(path: Path, problems: Sequence[Problem]) -> int:
    for problem in problems:
        print(f"{path}: {problem}", file=sys.stderr)
    print(f"{len(problems)} problem(s); no list was enrolled", file=sys.stderr)
    return _EXIT_PROBLEMS


def _show(report: QualityReport, work: Workspace) -> None:
    for row, photo in zip(report.rows, report.photos, strict=True):
        for finding in photo.findings:
            left_out = " (left out)" if photo.verdict is Verdict.REFUSE else ""
            print(f"line {row.line}: {row.particulars.id} ({row.photo.name}){left_out}: {finding}")
    warnings = report.warnings()
    for warning in warnings[:_MOST_SHOWN]:
        print(f"look-alikes: {warning}")
    if len(warnings) > _MOST_SHOWN:
        print(f"look-alikes: {len(warnings) - _MOST_SHOWN} more; see the report, or 'office look-alikes'")
    if not warnings:
        print(f"no two entries score {report.engine_set.threshold_floor:g} or more")
    counts = ", ".join(f"{count} {verdict.value}" for verdict, count in report.counts().items())
    print(f"{work.folder}: {len(report.entries)} entries of {len(report.photos)} photos ({counts})")
