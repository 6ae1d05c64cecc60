#!/bin/bash
# PyAV 18.1.0 (libavformat 62), 2026-11-30.
#
# An audio frame made from an array has no position (`pts` is None). Encoded as it is, it becomes an m4a
# that plays, without an error or a warning, but 1024 samples late and 1024 longer: the file does not say
# how much of its beginning is the encoder's. With `frame.pts = 0` for the first frame the same lines
# write the edit list, and the sound is where it was. The same holds for mp3 in mp4 (1105 samples).
#
# A guess misses it: encoders count samples, so positions look like a matter of video; the file has the
# right duration to the tenth of a second. It hurts whoever writes training data, stems or loops: 23 ms
# at 44.1 kHz, 64 ms at 16 kHz, against everything that was written by another program.
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


def delay(codec: str, position: int | None) -> int:
    """By how many samples the sound is late after writing and reading."""
    sound, file = noise(), io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        frame.pts = position
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    with av.open(io.BytesIO(file.getvalue())) as container:
        read = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return int(np.correlate(read, sound[50_000:60_000], "valid").argmax()) - 50_000


same = True
for codec, expected in (("aac", 1024), ("libmp3lame", 1105)):
    without, given = delay(codec, None), delay(codec, 0)
    print(f"{codec} in mp4: {without} samples late without a position, {given} with pts = 0")
    same &= without == expected and given == 0
print("as described" if same else "CHANGED")
sys.exit(not same)
PYTHON
