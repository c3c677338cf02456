"""The quality report: HTML with pictures for people, CSV and JSON for their tools.

Self-contained, without script, readable without colours, printable. It shows faces and ids: whoever makes it looks at
personal data, so the command logs that before it is written.
"""

import base64
import csv
import html
import io
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import require_new
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.office.assess import MEASURES, Verdict
from lfr_edge.office.enrol import Photo
from lfr_edge.office.listing import Row
from lfr_edge.watchlist.lookalikes import Comparison, Pair

_ORDER = {Verdict.REFUSE: 0, Verdict.WARN: 1, Verdict.ACCEPT: 2}
_SIGNS = {Verdict.REFUSE: "✗ refuse", Verdict.WARN: "! warn", Verdict.ACCEPT: "✓ accept"}
_MOST_PICTURES = 500  # of accepted photos: a page of 17,000 pictures opens nowhere


@dataclass(frozen=True, slots=True)
class QualityReport:
    """All that a report says. `entries` are ids in the order that `comparison` counts them."""

    engine_set: EngineSet
    rows: Sequence[Row]
    photos: Sequence[Photo]
    entries: Sequence[str]
    comparison: Comparison | None
    """None if some entry has no photo that can be used: then nothing was compared."""

    def write(self, folder: Path) -> None:
        """Make the folder with report.html, report.csv and report.json; whole or not at all, owner's eyes only."""
        require_new(folder)
        try:
            unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))  # mode 0700
            try:
                (unfinished / "report.html").write_text(self.html(), "utf-8")
                (unfinished / "report.csv").write_text(self.csv(), "utf-8", newline="")
                (unfinished / "report.json").write_text(self.json(), "utf-8")
                unfinished.rename(folder)
            except BaseException:
                shutil.rmtree(unfinished)
                raise
        except OSError as error:
            raise _unwritable(folder, error.strerror) from error

    def counts(self) -> dict[Verdict, int]:
        """How many photos have each verdict."""
        return {verdict: sum(photo.verdict is verdict for photo in self.photos) for verdict in Verdict}

    def sure(self) -> float:
        """The score from which two entries are more likely one person under two ids than two who look alike."""
        return (2 * self.engine_set.threshold + 1) / 3

    def warnings(self) -> list[str]:
        """Look-alikes and disagreements in one line each, most striking first."""
        if self.comparison is None:
            return []
        return [self._said(pair) for pair in (*self.comparison.look_alikes, *self.comparison.disagreeing)]

    def csv(self) -> str:
        """One line for each photo."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["line", "id", "photo", "verdict", *(measure.name for measure in MEASURES), "findings"])
        for row, photo in zip(self.rows, self.photos, strict=True):
            findings = " | ".join(map(str, photo.findings))
            writer.writerow(
                [
                    row.line,
                    row.particulars.id,
                    _harmless(row.photo.name),
                    photo.verdict.value,
                    *_values(photo),
                    findings,
                ]
            )
        return text.getvalue()

    def json(self) -> str:
        """The same, with look-alikes."""
        pairs = self.comparison or Comparison((), (), complete=False)
        content = {
            "engine_set": self.engine_set.name,
            "contract": self.engine_set.contract,
            "compared_at": self.engine_set.threshold_floor,
            "photos": [
                {
                    "line": row.line,
                    "id": row.particulars.id,
                    "photo": row.photo.name,
                    "photo_sha256": photo.sha256,
                    "verdict": photo.verdict.value,
                    "measures": None if photo.quality is None else {m.name: m.of(photo.quality) for m in MEASURES},
                    "findings": [{"what": finding.what, "fix": finding.fix} for finding in photo.findings],
                }
                for row, photo in zip(self.rows, self.photos, strict=True)
            ],
            "compared": self.comparison is not None,
            "look_alikes": [self._named(pair) for pair in pairs.look_alikes],
            "look_alikes_complete": pairs.complete,
            "disagreeing": [self._named(pair) for pair in pairs.disagreeing],
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def html(self) -> str:
        """One page."""
        counts = self.counts()
        summary = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
        title = f"Quality of {len(self.photos)} photos of {len({row.particulars.id for row in self.rows})} entries"
        return "".join(
            (
                f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n',
                '<meta name="viewport" content="width=device-width">\n',
                '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; ',
                f"style-src 'unsafe-inline'\">\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
                f"<p><strong>{summary}.</strong> Engine set {html.escape(self.engine_set.name)}. ",
                "Personal data: delete this page when the list is sealed.</p>\n",
                *self._pairs_html(),
                *self._photos_html(),
                "</main>\n</body>\n</html>\n",
            )
        )

    def _pairs_html(self) -> Iterable[str]:
        yield "<h2>Entries that look alike</h2>\n"
        if self.comparison is None:
            yield "<p>Not compared: first every entry needs a photo that can be used.</p>\n"
            return
        pairs = (*self.comparison.look_alikes, *self.comparison.disagreeing)
        if not pairs:
            yield f"<p>No two entries score {self.engine_set.threshold_floor:g} or more, and no photos disagree.</p>\n"
        pictures = self._pictures()
        yield '<ul class="pairs">\n'
        for pair in pairs[:_MOST_PICTURES]:
            first, second = self.entries[pair.first], self.entries[pair.second]
            shown = pictures[first] if first == second else [pictures[first][0], pictures[second][0]]
            figures = "".join(_picture(jpeg, name) for name, jpeg in shown)
            yield f"<li>{figures}<p>{html.escape(self._said(pair))}</p></li>\n"
        yield "</ul>\n"

    def _photos_html(self) -> Iterable[str]:
        yield "<h2>Photos</h2>\n"
        yield (
            "<p>Worst first. Measures marked * have the name of ISO/IEC 29794-5; algorithms and scales are this "
            'product\'s own.</p>\n<table>\n<thead>\n<tr><th scope="col">photo</th><th scope="col">verdict</th>'
        )
        for measure in MEASURES:
            mark = "*" if measure.in_standard else ""
            yield f'<th scope="col">{html.escape(measure.title + measure.unit)}{mark}</th>'
        yield "</tr>\n</thead>\n<tbody>\n"
        pairs = list(zip(self.rows, self.photos, strict=True))
        accepted_shown = self.counts()[Verdict.ACCEPT] <= _MOST_PICTURES
        for row, photo in sorted(pairs, key=lambda pair: (_ORDER[pair[1].verdict], pair[1].value)):
            picture = photo.picture_jpeg if accepted_shown or photo.verdict is not Verdict.ACCEPT else b""
            yield _photo_html(row, photo, picture)
        yield "</tbody>\n</table>\n"

    def _pictures(self) -> dict[str, list[tuple[str, bytes]]]:
        """By entry, its usable photos, each with what to call it; the best one, which officers will see, first."""
        photos: dict[str, list[tuple[float, str, bytes]]] = {}
        for row, photo in zip(self.rows, self.photos, strict=True):
            if photo.usable:
                entry = row.particulars.id
                name = f"{entry}, line {row.line}"
                photos.setdefault(entry, []).append((photo.value, name, photo.picture_jpeg))
        return {
            entry: [(name, jpeg) for _, name, jpeg in sorted(own, key=lambda one: -one[0])]
            for entry, own in photos.items()
        }

    def _said(self, pair: Pair) -> str:
        first, second = self.entries[pair.first], self.entries[pair.second]
        if pair.first == pair.second:
            return f"{first}: its own photos disagree, score {pair.score:.3f}; do they show one person?"
        if pair.score >= self.sure():
            return f"{first} and {second} score {pair.score:.3f}: probably one person under two ids"
        return f"{first} and {second} score {pair.score:.3f}: an alert for one may be the other"

    def _named(self, pair: Pair) -> dict[str, object]:
        return {
            "first": self.entries[pair.first],
            "second": self.entries[pair.second],
            "score": pair.score,
            "probably_one_person": pair.first != pair.second and pair.score >= self.sure(),
        }


def _unwritable(folder: Path, why: str | None) -> ConfigError:
    return ConfigError(
        Reason.FILE_UNWRITABLE,
        f"the report {folder} cannot be written: {why}",
        fix="check the path, its permissions and the disk",
    )


def _photo_html(row: Row, photo: Photo, picture: bytes) -> str:
    name = f"{row.particulars.id}"
    findings = "".join(f"<li>{html.escape(str(finding))}</li>" for finding in photo.findings)
    findings = f"<ul>{findings}</ul>" if findings else ""
    cells = "".join(f"<td>{value}</td>" for value in _values(photo))
    return (
        f'<tr class="{photo.verdict.value}"><th scope="row">{_picture(picture, name)}{html.escape(row.photo.name)}'
        f"<br>line {row.line}</th><td><strong>{_SIGNS[photo.verdict]}</strong>{findings}</td>{cells}</tr>\n"
    )


def _picture(jpeg: bytes, name: str) -> str:
    escaped = html.escape(name, quote=True)
    if not jpeg:
        return f"<figure><figcaption>{escaped}</figcaption></figure>"
    data = base64.b64encode(jpeg).decode("ascii")
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="photo of {escaped}">'
        f"<figcaption>{escaped}</figcaption></figure>"
    )


def _values(photo: Photo) -> list[str]:
    quality = photo.quality
    if quality is None:
        return [""] * len(MEASURES)
    return [measure.shown(quality) for measure in MEASURES]


def _harmless(name: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name


_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #111; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #999; padding: .4rem .5rem; text-align: left; vertical-align: top }
thead th { position: sticky; top: 0; background: #fff; font-size: .8rem }
tbody td:nth-child(n+3) { text-align: right; font-variant-numeric: tabular-nums }
figure { display: inline-block; margin: 0 .6rem .3rem 0; vertical-align: top }
img { width: 96px; display: block } figcaption { font-weight: 600 }
td ul { margin: .3rem 0 0; padding-left: 1.1rem; min-width: 16rem; font-size: .9rem }
tr.refuse { background: #fde8e6 } tr.warn { background: #fff5d6 }
.pairs { list-style: none; padding: 0; display: grid; gap: .6rem;
grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)) }
.pairs li { border: 1px solid #999; padding: .6rem; break-inside: avoid } .pairs p { margin: .2rem 0 0 }
@media print { body { margin: 0; font-size: 10px } tr { break-inside: avoid } thead th { position: static }
* { print-color-adjust: exact } }
"""
