#!/bin/bash
# PyAV 18.1.0 (libavcodec 62) and the same in FFmpeg 5.1; files by soundfile 0.14.0 (libsndfile 1.2.2), 2026-11-30.
#
# How long an Ogg Vorbis file is in FFmpeg depends on how its music begins. Two seconds of noise have
# two seconds. Two seconds of a tone, from the same encoder with the same settings, lack their last
# 128 samples at 44.1 and 48 kHz and have 316 samples too many at 22.05 kHz. The first frame says that it
# is at 128 or 256, but holds the sound of 0: whoever puts frames where they say is late by as much,
# whoever joins them gets the right sound at the right place and a wrong end.
# libsndfile reads exactly what was written, in all cases.
#
# A guess misses it: Vorbis has an exact length in its last page, so people look for encoder delay in mp3
# and AAC and take Vorbis as exact; and tests with noise or clicks, which begin with a short block, are.
# It hurts whoever compares lengths of decoders, cuts by positions, or aligns labels and stems.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import av
import numpy as np
import soundfile


def lengths(sound: np.ndarray, rate: int) -> tuple[int, int, int, float]:
    """Samples that soundfile and FFmpeg read, less those written; FFmpeg's first position; the difference."""
    file = io.BytesIO()
    soundfile.write(file, sound.astype(np.float32), rate, format="OGG", subtype="VORBIS")
    read, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    with av.open(io.BytesIO(file.getvalue())) as container:
        frames = list(container.decode(audio=0))
    decoded = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    both = slice(0, min(len(read), len(decoded)))
    apart = float(np.abs(read[both] - decoded[both]).max())
    return len(read) - len(sound), len(decoded) - len(sound), frames[0].pts, apart


same = True
random = np.random.default_rng(0)
for rate, missing, first in ((22050, 316, 256), (44100, -128, 128), (48000, -128, 128)):
    time = np.arange(2 * rate) / rate
    tone, noise = 0.3 * np.sin(2 * np.pi * 440 * time), 0.1 * random.standard_normal(2 * rate)
    for name, sound, expected in (("tone", tone, (missing, first)), ("noise", noise, (0, 0))):
        sndfile, ffmpeg, position, apart = lengths(sound, rate)
        print(
            f"{rate} Hz, {name}: soundfile {sndfile:+d} samples, FFmpeg {ffmpeg:+d}, whose first frame says "
            f"position {position}; as far as both go they differ by {apart:.1e}"
        )
        same &= sndfile == 0 and (ffmpeg, position) == expected and apart < 1e-5
print("as described" if same else "CHANGED")
sys.exit(not same)
PYTHON
