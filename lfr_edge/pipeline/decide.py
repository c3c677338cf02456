"""When a comparison becomes a match. Plain ids and numbers; no arrays.

Exactly: a track's faces are fused into one probe, which is compared each time a face is added. The track matches when
the last `confirmation` comparisons all had the same entry first, each with a score at or above the threshold and at
least `margin` above the best other entry. A track matches once. An entry that has just raised an alert is held back for
the cool-down, which remembers the entry, never the passer-by; what was held back is counted.
"""

from dataclasses import dataclass, field

from lfr_edge.watchlist.references import Candidate


@dataclass(frozen=True, slots=True)
class Rule:
    """What the order says about deciding."""

    threshold: float  # cosine, -1..1
    margin: float  # cosine
    confirmation: int  # comparisons in a row
    cooldown_s: float


@dataclass(slots=True)
class Streak:
    """How often in a row one track's first candidate has satisfied the rule."""

    entry: str = ""
    length: int = 0


@dataclass(slots=True)
class Decider:
    """Applies one order's rule. `held_back` counts matches that fell into a cool-down."""

    rule: Rule
    held_back: int = 0
    _last_alert_ns: dict[str, int] = field(default_factory=dict)

    def confirms(self, streak: Streak, first: Candidate, runner_up: Candidate | None) -> bool:
        """Take one more comparison into the track's streak; True once the rule is satisfied."""
        if not self._satisfied(first, runner_up):
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
            self.held_back += 1
            return False
        self._last_alert_ns[entry] = now_ns
        return True

    def _satisfied(self, first: Candidate, runner_up: Candidate | None) -> bool:
        clear = runner_up is None or first.score - runner_up.score >= self.rule.margin
        return first.score >= self.rule.threshold and clear
