"""The reference picture: what officers compare with, cut out of an enrolled photo.

Reading photos is the adapter's business (`adapters.photos`).
"""

from io import BytesIO

import numpy as np
from PIL import Image as Pillow

from lfr_edge.biometrics.image import Image
from lfr_edge.vision.geometry import Box, grown, intersection

_MARGIN = 0.35  # of the face box, on each side: hair, ears and chin help the officer who compares
_REFERENCE_LONGEST_PX = 320
_REFERENCE_QUALITY = 90


def reference_picture(image: Image, face_px: Box) -> bytes:
    """The face with some margin as JPEG, at most 320 px: what officers compare with."""
    picture = Box(0, 0, image.width_px, image.height_px)
    left, top, right, bottom = (round(edge) for edge in intersection(grown(face_px, _MARGIN), picture))
    crop = Pillow.fromarray(np.ascontiguousarray(image.pixels[top:bottom, left:right, ::-1]))
    crop.thumbnail((_REFERENCE_LONGEST_PX, _REFERENCE_LONGEST_PX))
    jpeg = BytesIO()
    crop.save(jpeg, "JPEG", quality=_REFERENCE_QUALITY)
    return jpeg.getvalue()
