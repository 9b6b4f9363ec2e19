"""Films and sounds of any form, made with FFmpeg."""

from __future__ import annotations

import io
from fractions import Fraction

import av


def film(
    form: str = "mp4",
    *,
    seconds: int = 3,
    size: tuple[int, int] = (320, 240),
    fps: int = 25,
    options: dict[str, str] | None = None,
) -> bytes:
    """A film of grey frames."""
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=options or {}) as out:
        stream = out.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(seconds * fps):
            frame = av.VideoFrame(*size, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number % 255]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file.getvalue()


_CODECS = {"mp3": "libmp3lame", "aac": "aac", "m4a": "aac", "wav": "pcm_s16le"}
_MUXERS = {"aac": "adts", "m4a": "ipod"}


def sound(form: str, *, seconds: int = 3, rate: int = 44100, options: dict[str, str] | None = None) -> bytes:
    """A sound in which nothing is to be heard."""
    file = io.BytesIO()
    samples = 1152
    with av.open(file, "w", format=_MUXERS.get(form, form), options=options or {}) as out:
        stream = out.add_stream(_CODECS[form], rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        for at in range(0, seconds * rate, samples):
            count = min(samples, seconds * rate - at)
            frame = av.AudioFrame(format="s16" if form == "wav" else "fltp", layout="mono", samples=count)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file.getvalue()
