"""Photo files into leased memory: JPEG, PNG and WebP through Pillow.

Pillow's own buffers are freed at once, but not wiped: this is for people who are enrolled, or who take part in a test.
No module of the van imports it.
"""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import Row
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError

try:
    from PIL import Image as Pillow
    from PIL import ImageOps
except ModuleNotFoundError as missing:
    raise ConfigError(
        Reason.DEPENDENCY_MISSING, "Pillow is not installed", fix="install lfr-edge with the extra 'office'"
    ) from missing

_FORMATS = ("JPEG", "PNG", "WEBP")
# Both detectors place landmarks best on faces of 200 to 300 px, which is head and shoulders at this size: confidence of
# YuNet on the synthetic custody photos, enlarged 3.2 times, is .89 when read at 1280 px, .93 at 1024 and .95 at 640.
_LONGEST_PX = 640


def read_photo(source: Path | BinaryIO, arena: Arena, row: Row) -> Image:
    """The photo upright, no side longer than 640 px, in a lease of `row`.

    UntrustedInputError if it is not a picture that can be used.
    """
    upright = _upright(source)
    upright.thumbnail((_LONGEST_PX, _LONGEST_PX))
    image = Image.blank(arena, row, upright.width, upright.height)
    np.copyto(image.pixels, np.asarray(upright)[..., ::-1])
    return image


def _upright(source: Path | BinaryIO) -> Pillow.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata, which is not used
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(source, formats=_FORMATS) as untrusted:
                untrusted.draft("RGB", (_LONGEST_PX, _LONGEST_PX))
                return ImageOps.exif_transpose(untrusted).convert("RGB")
    except (Pillow.DecompressionBombWarning, Pillow.DecompressionBombError) as error:
        raise UntrustedInputError(
            Reason.SAMPLE_UNUSABLE, "it has too many pixels", fix="save a smaller copy"
        ) from error
    except (OSError, ValueError, SyntaxError) as error:  # SyntaxError is what Pillow raises for a broken PNG
        raise UntrustedInputError(
            Reason.SAMPLE_UNUSABLE,
            "it is not a JPEG, PNG or WebP picture, or damaged",
            fix="save it again as JPEG",
        ) from error
