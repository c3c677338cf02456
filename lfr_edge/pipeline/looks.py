"""How thoroughly a camera's next picture is looked at: in full, or at a glance.

Finding faces costs in proportion to the pixels, and is three quarters of all work. A glance sees the picture at half
its size, for a third of the cost. It finds nearly the same faces, but places their landmarks half as well. So

- where only large faces are compared, a glance is as good as a full look is for small ones, and decides;
- where `full_look_every` is above 1, glances between full looks follow who is in view already. Only a full look begins
  a track, and only its faces are compared: what is recognised, and how well, is as with full looks alone, with fewer
  faces to choose from. While somebody in view was not compared often enough to be decided on, every look is full.

Measured in docs/performance.md. Which detector glances is `extract`'s business.
"""

from dataclasses import dataclass

GLANCES_SUFFICE_PX = 40.0
"""Between the eyes, of the smallest face that is compared: at half the size 20 px, which full looks decide on."""

_LONGEST_WITHOUT_NS = 150_000_000  # a slow camera has no pictures to spare for glances


@dataclass(frozen=True, slots=True)
class Look:
    """How one picture is looked at."""

    glance: bool
    decides: bool  # do its faces begin tracks, and are they compared


class Looks:
    """The looks at one camera's pictures, in their order."""

    def __init__(self, minimum_inter_eye_px: float, full_look_every: int) -> None:
        self._glances_suffice = minimum_inter_eye_px >= GLANCES_SUFFICE_PX
        self._every = full_look_every
        self._glances = 0  # since the last full look
        self._full_ns: int | None = None  # when that picture was captured
        self.urgent = False
        """Is somebody in view who is yet to be decided on."""

    @property
    def kinds(self) -> tuple[bool, ...]:
        """Whether pictures are glanced at: for which searches an engine has to be ready."""
        if self._glances_suffice:
            return (True,)
        return (False,) if self._every == 1 else (False, True)

    def next(self, captured_ns: int) -> Look:
        """The look at the picture that was captured then (monotonic)."""
        if self._glances_suffice:
            return Look(glance=True, decides=True)
        due = self._full_ns is None or captured_ns - self._full_ns >= _LONGEST_WITHOUT_NS
        if self.urgent or due or self._glances + 1 >= self._every:
            self._glances, self._full_ns = 0, captured_ns
            return Look(glance=False, decides=True)
        self._glances += 1
        return Look(glance=True, decides=False)
