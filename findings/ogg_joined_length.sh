#!/bin/bash
# soundfile 0.14.0 (libsndfile 1.2.2) and PyAV 18.1.0 (libavformat 62) on joined Ogg files, 2026-11-30.
#
# Ogg files may be joined byte after byte (RFC 3533 calls it chaining; web radio recordings are made so).
# Of 2 s and 3 s joined, soundfile says 2 s and reads 2 s, without a word. PyAV decodes all of it but says
# that it lasts as long as the last part, 3 s, and for Vorbis gives some samples more than were written.
# Neither a length nor a read that ends without an error tells that music is missing.
#
# A guess misses it: both libraries name Ogg among what they read, and the length is taken from the file's
# end, as in a single stream. It hurts whoever plans by durations or reads recordings of streams with
# soundfile: all but the first part is never heard.
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

RATE = 48000


def part(seconds: int, pitch: float, subtype: str) -> bytes:
    tone = 0.3 * np.sin(2 * np.pi * pitch * np.arange(seconds * RATE) / RATE)
    file = io.BytesIO()
    soundfile.write(file, tone.astype(np.float32), RATE, format="OGG", subtype=subtype)
    return file.getvalue()


same = True
for subtype in ("VORBIS", "OPUS"):
    joined = part(2, 440, subtype) + part(3, 660, subtype)
    said = soundfile.info(io.BytesIO(joined)).frames / RATE
    read = len(soundfile.read(io.BytesIO(joined))[0]) / RATE
    with av.open(io.BytesIO(joined)) as container:
        lasts = (container.duration or 0) / av.time_base
        decoded = sum(frame.samples for frame in container.decode(audio=0)) / RATE
    print(
        f"{subtype}, 2 s and 3 s joined: soundfile says {said:g} s, reads {read:g} s; "
        f"PyAV says {lasts:.2f} s, decodes {decoded:.4f} s"
    )
    same &= said == read == 2 and abs(lasts - 3) < 0.1 and abs(decoded - 5) < 0.02
print("as described" if same else "CHANGED")
sys.exit(not same)
PYTHON
