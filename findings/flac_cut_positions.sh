#!/bin/bash
# soundfile 0.14.0 (libsndfile 1.2.2) on FLAC that PyAV 18.1.0 (FFmpeg) cut without encoding it again,
# 2026-11-30.
#
# Six seconds, cut behind the fourth of ten by copying packets, keep the frame numbers and the promised
# length of the whole: soundfile says 10 s. SoundFile.read() gives the 6 s that are there. But
# soundfile.read(file), which first seeks to 0, fails; so does start= at any place up to the cut; and
# start= behind it succeeds and gives sound from 4 s earlier than asked, with no error.
#
# A guess misses it: FLAC is lossless, a copied cut plays well everywhere, and files written by encoders
# seek to the sample. It hurts whoever trains on random windows of cut recordings (labels, lyrics and
# stems are off by the whole cut) and whoever believes `frames`.
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

RATE, CUT = 48000, 4
time = np.arange(10 * RATE) / RATE
chirp = (0.3 * np.sin(2 * np.pi * (200 + 190 * time) * time)).astype(np.float32)
whole = io.BytesIO()
soundfile.write(whole, chirp, RATE, format="FLAC")
whole.seek(0)
cut = io.BytesIO()
with av.open(whole) as source, av.open(cut, "w", format="flac") as target:
    stream = source.streams.audio[0]
    copied = target.add_stream_from_template(stream)
    for packet in source.demux(stream):
        if packet.pts is not None and packet.pts * packet.time_base >= CUT:
            packet.stream = copied
            target.mux(packet)


def opened() -> io.BytesIO:
    return io.BytesIO(cut.getvalue())


with soundfile.SoundFile(opened()) as file:
    promised = file.frames / RATE
    there = file.read(dtype="float32")
begin = int(np.argmin([np.abs(chirp[i : i + 999] - there[:999]).max() for i in range(5 * RATE)])) / RATE
print(f"says {promised:g} s, holds {len(there) / RATE:.2f} s, from {begin:.2f} s of the recording on")


def sound_at(second: int) -> float | None:
    """Where in the file the sound is that soundfile gives for a second; None if it refuses."""
    try:
        part, _ = soundfile.read(opened(), frames=2000, start=second * RATE, dtype="float32")
    except soundfile.LibsndfileError as error:
        print(f"start={second} s: {error}")
        return None
    found = int(np.correlate(there, part, "valid").argmax()) / RATE
    print(f"start={second} s: the sound of {found:.2f} s")
    return found


refused = [sound_at(second) is None for second in (0, 1, 3)]
found = sound_at(5)
same = promised == 10 and abs(len(there) / RATE - 6) < 0.1 and abs(begin - CUT) < 0.1
same &= all(refused) and found is not None and abs(found - (5 - begin)) < 0.01
print("as described" if same else "CHANGED")
sys.exit(not same)
PYTHON
