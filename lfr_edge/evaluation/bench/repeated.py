"""A clip shown several times in a row, as one file: packets copied, nothing encoded again."""

from pathlib import Path

import av


def repeated(clip: Path, times: int, to: Path, *, fps: float | None = None) -> Path:
    """Write `clip` `times` over into the new file `to`, which is returned; at `fps`, slower or faster than it was."""
    with av.open(str(clip)) as source, av.open(str(to), "w") as target:
        stream = source.streams.video[0]
        slower = 1.0 if fps is None else float(stream.average_rate or fps) / fps
        copy = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        shown = [packet.pts or 0 for packet in packets]
        length = (max(shown) - min(shown)) * len(shown) // (len(shown) - 1)
        kept = [(bytes(packet), packet.pts, packet.dts, packet.duration, packet.is_keyframe) for packet in packets]
        for turn in range(times):
            for content, pts, dts, duration, key in kept:
                packet = av.Packet(content)
                packet.stream, packet.time_base = copy, stream.time_base
                packet.pts = round(((pts or 0) + turn * length) * slower)
                packet.dts = round(((dts or 0) + turn * length) * slower)
                packet.duration, packet.is_keyframe = round((duration or 0) * slower), key
                target.mux(packet)
    return to
