"""The `EvidenceSealer`: pictures of a match become JPEG, go into an alert, and are signed and sealed at once.

Pillow's own buffers hold only what is in the alert: the matched person's sample, and a context picture in which
everybody else is already obscured.
"""

import io
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from lfr_edge.clock import Clock
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.alert import Alert, SealedAlert, sign_and_seal
from lfr_edge.messages.ids import uuid7
from lfr_edge.messages.match import StatedMatch
from lfr_edge.messages.order import Order
from lfr_edge.messages.volunteer_pass import SealedPass, VolunteerPass, sign_and_seal_pass
from lfr_edge.pipeline.evidence import Match
from lfr_edge.watchlist.pictures import PictureStore

# A sample is what officers compare by eye; the context only shows where the person stood, and is mostly mosaic.
_SAMPLE_QUALITY = 92
_SAMPLE_LONGEST_PX = 640
_CONTEXT_QUALITY = 70
_CONTEXT_LONGEST_PX = 960


@dataclass(frozen=True, slots=True)
class JpegEvidenceSealer:
    """Seals alerts and test passes of one van in one deployment."""

    van: str
    order: Order
    engine_set: EngineSet
    pictures: PictureStore
    key: SigningKey
    clock: Clock

    def seal(self, match: Match, sample: NDArray[Any], context: NDArray[Any]) -> SealedAlert:
        """See `EvidenceSealer`."""
        entry = match.candidate.entry
        if entry.response == "test-pass":
            raise RuntimeError("a volunteer's match was about to become an alert")
        alert = Alert(
            **dict(self._stated(match)),
            category=entry.category,
            response=entry.response,
            runner_up=None if match.runner_up is None else match.runner_up.entry.id,
            faces=match.faces,
            place=self.order.place,
            contract=self.engine_set.contract,
            sample=_jpeg(sample, quality=_SAMPLE_QUALITY, longest_px=_SAMPLE_LONGEST_PX),
            reference=self.pictures.open(entry),
            context=_jpeg(context, quality=_CONTEXT_QUALITY, longest_px=_CONTEXT_LONGEST_PX),
            ack_token=secrets.token_hex(32),
        )
        return sign_and_seal(alert, self.key, self.order.recipients)

    def seal_pass(self, match: Match) -> SealedPass:
        """See `EvidenceSealer`."""
        if not match.candidate.entry.is_volunteer:
            raise RuntimeError("a match that is no volunteer's was about to become a test pass")
        return sign_and_seal_pass(VolunteerPass(**dict(self._stated(match))), self.key, self.order.recipients)

    def _stated(self, match: Match) -> StatedMatch:
        """What an alert and a test pass both say."""
        decided_at = self.clock.utc()
        return StatedMatch(
            id=uuid7(),
            van=self.van,
            force=self.order.force,
            order=self.order.id,
            entry=match.candidate.entry.id,
            score=match.candidate.score,
            threshold=self.order.threshold,
            margin=None if match.runner_up is None else match.candidate.cosine - match.runner_up.cosine,
            camera=match.camera,
            captured_at=match.captured_at,
            decided_at=decided_at,
            expires_at=decided_at + timedelta(hours=self.order.alert_expiry_h),
            engine_set=self.engine_set.digest,
            watchlist_sha256=self.order.watchlist_sha256,
            recipients=self.order.recipients,
        )


def _jpeg(pixels: NDArray[Any], *, quality: int, longest_px: int) -> bytes:
    height, width, _ = pixels.shape
    # From a row-contiguous view; Pillow copies, which is the sanctioned copy out of the lease.
    picture = Pillow.frombuffer("RGB", (width, height), np.ascontiguousarray(pixels), "raw", "BGR", 0, 1)
    picture.thumbnail((longest_px, longest_px))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()
