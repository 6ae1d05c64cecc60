#!/bin/bash
# FFmpeg's WMA encoder and decoder in PyAV 18.1.0 (libavcodec 62) and in FFmpeg 5.1, 2026-11-30.
#
# What FFmpeg writes as WMA (wmav2, wmav1) loses its first 2048 samples when FFmpeg reads it: 46 ms at
# 44.1 kHz. The decoder always skips two frames, as files of Microsoft's encoder need; the encoder beside
# it puts one in front. The first frame says that it is at 93 ms.
#
# A guess misses it: encoders add silence in front, so people look for sound that is late; here it is
# early and the first attack is gone, and both programs are the same project's. It hurts whoever makes
# WMA test files with FFmpeg, or compares a collection that was converted by it with its sources.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import av
import numpy as np

RATE, LENGTH = 44100, 100_000


def noise() -> np.ndarray:
    """Noise from 100 to 5000 Hz, which survives any encoder."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(LENGTH))
    pitches = np.fft.rfftfreq(LENGTH, 1 / RATE)
    spectrum[(pitches < 100) | (pitches > 5000)] = 0
    found = np.fft.irfft(spectrum, LENGTH)
    return (0.2 * found / found.std()).astype(np.float32)


def written_and_read(sound: np.ndarray, codec: str) -> tuple[np.ndarray, float]:
    file = io.BytesIO()
    with av.open(file, "w", format="asf") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    with av.open(io.BytesIO(file.getvalue())) as container:
        frames = list(container.decode(audio=0))
    first = float(frames[0].pts * frames[0].time_base)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), first


same = True
sound = noise()
piece = sound[50_000:60_000]
for codec in ("wmav1", "wmav2"):
    read, first = written_and_read(sound, codec)
    place = int(np.correlate(read, piece, "valid").argmax())
    print(
        f"{codec}: sample 50000 is read as sample {place} ({place - 50_000:+d}), "
        f"{len(read) - LENGTH:+d} samples in all, the first frame says {first:.3f} s"
    )
    same &= place == 50_000 - 2048
print("as described" if same else "CHANGED")
sys.exit(not same)
PYTHON
