"""When a comparison becomes a match. Plain ids and numbers; no arrays.

Exactly: a track's faces are fused into one probe, which is compared each time a face is added. A comparison agrees with
an entry if that entry's cosine is the highest, by at least `margin` above the best other entry's, and its score at
least what is required of a probe of so many faces. The track matches when the last `confirmation` comparisons agreed
with the same entry. A track matches once. An entry that has just raised an alert is held back for the cool-down, which
remembers the entry, never the passer-by.

Who is first and by how much is judged by cosines, and only the first is judged by its score, which may be lower: so the
lowering of scores can hold back a match, and never make one, nor make it somebody else's.

Required is the order's threshold once `RIPE_FACES` faces are fused, and more before: a clear match is decided at once,
a doubtful one when more has been seen. Fewer faces say less. On the signers' clips (one camera, five people), the score
of the best impostor stayed about .52 from two faces on, while the worst genuine pass rose from .39 with two to .54 with
all (YuNet + MobileFaceNet): who is doubtful at first loses nothing by waiting a second.
"""

import math
from dataclasses import dataclass, field

from lfr_edge.watchlist.references import Candidate

# At the recogniser's pace these are seen within a second.
RIPE_FACES = 8
# Of the distance between the threshold and a perfect score, required in addition of a single face. A share, because
# engine sets differ in how far apart their scores lie.
EARLY_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Rule:
    """What the order says about deciding."""

    threshold: float  # cosine, -1..1
    margin: float  # cosine
    confirmation: int  # comparisons in a row
    cooldown_s: float

    def required(self, faces: int) -> float:
        """The score that a probe of `faces` fused faces must reach; falls to the threshold."""
        missing = max(RIPE_FACES - faces, 0) / (RIPE_FACES - 1)
        return self.threshold + EARLY_SHARE * (1 - self.threshold) * missing

    def short_of(self, faces: int, score: float) -> float:
        """How many more faces, all of score 1, would bring `faces` fused faces of `score` to the threshold."""
        missing = max(self.threshold - score, 0.0) * faces
        return missing / (1 - self.threshold) if self.threshold < 1 else math.inf


@dataclass(slots=True)
class Streak:
    """How often in a row one track's first candidate has satisfied the rule."""

    entry: str = ""
    length: int = 0


@dataclass(slots=True)
class Decider:
    """Applies one order's rule."""

    rule: Rule
    _last_alert_ns: dict[str, int] = field(default_factory=dict)

    def confirms(self, streak: Streak, faces: int, first: Candidate, runner_up: Candidate | None) -> bool:
        """Take one more comparison, of `faces` fused faces, into the streak; True once the rule is satisfied."""
        clear = runner_up is None or first.cosine - runner_up.cosine >= self.rule.margin
        if not (clear and first.score >= self.rule.required(faces)):
            streak.entry, streak.length = "", 0
        elif first.entry.id == streak.entry:
            streak.length += 1
        else:
            streak.entry, streak.length = first.entry.id, 1
        return streak.length >= self.rule.confirmation

    def may_alert(self, entry: str, now_ns: int) -> bool:
        """False inside the entry's cool-down; True starts a new one."""
        last_ns = self._last_alert_ns.get(entry)
        if last_ns is not None and now_ns - last_ns < self.rule.cooldown_s * 1e9:
            return False
        self._last_alert_ns[entry] = now_ns
        return True
