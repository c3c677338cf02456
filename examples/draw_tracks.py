"""Draw the paths of all tracks of a clip over one of its pictures: `docs/images/tracks.png` was made by this.

    python examples/draw_tracks.py --store .cache/engines --out docs/images/tracks.png

For footage of nobody, such as the rendered street here: what it writes shows faces, which the van never does. The store
is one that `lfr-edge engines fetch yunet-mobilefacenet` has filled.
"""  # noqa: INP001 - a script, not a package

import argparse
import colorsys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.evaluation.playing import pictures
from lfr_edge.evaluation.truth import Film
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.inference.store import EngineStore
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.tracking import Tracker, TrackerLimits

_HERE = Path(__file__).resolve().parent
_ARENA_BYTES = 64 << 20
_GOLDEN_RATIO = 0.618  # steps of it around the colour wheel keep neighbouring numbers apart
_GREY_BITS = 5  # a third of the bytes of a full scale, and nobody sees the difference behind a drawing


@dataclass(slots=True)
class Drawing:
    """The picture to draw over, and the boxes of every track from its first sighting to its last."""

    background: Image.Image
    tracks: dict[int, list[Box]]


def main() -> None:
    """Follow everybody in the clip, then draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clip", type=Path, default=_HERE / "demo" / "street_clip.mp4")
    parser.add_argument("--fps", type=float, default=25.0, help="pictures per second of the clip")
    parser.add_argument("--picture", type=int, default=190, help="which picture of the clip is the background")
    parser.add_argument("--store", type=Path, required=True, help="where the models are")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    args = parser.parse_args()
    draw(follow(Film(args.clip, args.fps), args.picture, EngineStore(args.store))).save(args.out, optimize=True)


def follow(film: Film, background: int, store: EngineStore) -> Drawing:
    """Detect and track through the whole clip."""
    extractor = open_extractor(load_engine_set("yunet-mobilefacenet"), store, Arena(_ARENA_BYTES), threads=1)
    tracker = Tracker(TrackerLimits())
    drawing = Drawing(Image.new("RGB", (1, 1)), defaultdict(list))
    with pictures(film, extractor.arena) as frames:
        for frame in frames:
            with frame.image.lease:
                if frame.sequence == background:
                    drawing.background = Image.fromarray(frame.image.pixels[..., ::-1].copy())
                detections = extractor.detect(frame.image)
            for track_id, detection in tracker.update(detections, frame.captured_ns).matched:
                drawing.tracks[track_id].append(detection.box_px)
    extractor.close()
    return drawing


def draw(drawing: Drawing) -> Image.Image:
    """Each track in its colour: the path of the box's centre from a dot on, the last box, and the track's number."""
    grey = ImageOps.posterize(ImageOps.grayscale(drawing.background), _GREY_BITS)
    picture = grey.point(lambda level: 0.75 * level).convert("RGB")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(22)
    for number, (track_id, boxes) in enumerate(drawing.tracks.items()):
        red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN_RATIO % 1, 0.75, 1.0)
        colour = round(255 * red), round(255 * green), round(255 * blue)
        path = [((box.left + box.right) / 2, (box.top + box.bottom) / 2) for box in boxes]
        pen.line(path, colour, width=3)
        pen.circle(path[0], 5, fill=colour)
        last = boxes[-1]
        pen.rectangle(last, outline=colour, width=2)
        # Inside the picture, even if the track ended at its edge.
        where = min(max(last.left, 2), picture.width - 30), max(last.top - 28, 2)
        pen.text(where, str(track_id), colour, font, stroke_width=2, stroke_fill="black")
    return picture


if __name__ == "__main__":
    main()
