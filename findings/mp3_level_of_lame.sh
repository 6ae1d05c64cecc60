#!/bin/bash
# soundfile 0.14.0 (libsndfile 1.2.2 with LAME), 2026-11-30.
#
# The constant bit rate of an mp3 sets its level: 160 kbit/s and less come out at 0.95 of it (0.446 dB
# too quiet), 192 kbit/s at 0.97, 224 at 0.98, 320 as they went in, and so does a variable bit rate.
# Layer III below 32 kHz ends at 160 kbit/s, so there every constant bit rate is quieter.
#
# A guess misses it: "lossy" is thought to mean noise, not gain, and tests at 44.1 kHz with a high bit
# rate, or with soundfile's default (variable), show a gain of 1. It hurts whoever writes 16, 22.05 or
# 24 kHz music or speech at a constant bit rate: training data in mp3 are quieter than the same in wav,
# and levels of a model's output drift when its output is its input again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import numpy as np
import soundfile


def gain(rate: int, **options: object) -> tuple[float, float]:
    """Level after / before, and kbit/s, of a tone at half of full scale."""
    time = np.arange(3 * rate) / rate
    tone = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, tone, rate, format="MP3", **options)
    size = len(file.getvalue())
    file.seek(0)
    found, _ = soundfile.read(file)
    middle = slice(rate, 2 * rate)
    level = np.sqrt(np.mean(found[middle] ** 2)) / np.sqrt(np.mean(tone[middle] ** 2))
    return float(level), size * 8 / 3000


def says_as_expected(rate: int, compression: float | None, expected: float) -> bool:
    options: dict[str, object] = {}
    if compression is not None:
        options = {"bitrate_mode": "CONSTANT", "compression_level": compression}
    level, kbits = gain(rate, **options)
    kind = "variable" if compression is None else "constant"
    print(f"{rate} Hz, {kind} bit rate ({kbits:.0f} kbit/s): level x {level:.4f}")
    return abs(level - expected) < 0.005


same = True
for rate in (16000, 22050, 24000):
    for compression, expected in ((None, 1.0), (0.5, 0.95), (0.0, 0.95)):
        same &= says_as_expected(rate, compression, expected)
for compression, expected in ((None, 1.0), (0.5, 0.95), (0.4, 0.97), (0.3, 0.98), (0.0, 1.0)):
    same &= says_as_expected(44100, compression, expected)
print("as described" if same else "CHANGED")
sys.exit(not same)
PYTHON
