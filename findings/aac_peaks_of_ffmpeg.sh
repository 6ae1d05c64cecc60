#!/bin/bash
# FFmpeg's own AAC encoder in PyAV 18.1.0, 2026-11-30.
#
# A sine at full scale comes out at 0.95 of full scale, 0.44 dB quieter, without a word; one at 0.95 or
# below keeps its level to four digits. The bit rate is ample (192 kbit/s, mono).
#
# A guess misses it: encoders of lossy formats overshoot, so what people look for is peaks above 1,
# and a gain measured at a moderate level is 1. It hurts comparisons of loud (mastered) music with its
# m4a or aac copy: level, loudness and matching of samples differ for loud passages alone, as if a
# limiter had been at work.
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

RATE = 44100


def level_after(amplitude: float) -> float:
    """The amplitude of a sine behind AAC."""
    time = np.arange(2 * RATE) / RATE
    sine = (amplitude * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[None]
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        stream.bit_rate = 192_000
        frame = av.AudioFrame.from_ndarray(sine, format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    file.seek(0)
    with av.open(file) as container:
        found = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)[0]
    middle = found[RATE // 2 : 3 * RATE // 2]
    return float(np.sqrt(2 * np.mean(middle**2)))


same = True
for amplitude, expected in ((0.5, 0.5), (0.9, 0.9), (0.95, 0.95), (0.98, 0.95), (1.0, 0.95)):
    found = level_after(amplitude)
    print(f"sine of amplitude {amplitude}: {found:.4f} after encoding and decoding")
    same &= abs(found - expected) < 0.002
print("as described" if same else "CHANGED")
sys.exit(not same)
PYTHON
