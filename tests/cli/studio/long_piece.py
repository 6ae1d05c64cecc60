"""A piece of ten minutes that nobody had to make: a preview of a tone that grows louder."""

import json
import shutil
from pathlib import Path

import numpy as np
import soundfile

LONG_SECONDS, LONG_RATE = 600, 16_000


def make_long_piece(source: Path, place: Path) -> Path:
    """Copy a piece to `place` as one take of `LONG_SECONDS`, of which only the preview is there."""
    shutil.copytree(source, place)
    path = place / "session.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record |= {"complete": False, "sampling_rate": LONG_RATE}
    record["takes"] = record["takes"][:1]
    codes = {"0": {"count": LONG_SECONDS * LONG_RATE // 8, "crc32": "0"}}
    record["takes"][0] |= {"seconds": LONG_SECONDS, "audio": None, "codes": codes}
    path.write_text(json.dumps(record), encoding="utf-8")
    time_axis = np.arange(LONG_SECONDS * LONG_RATE) / LONG_RATE
    loudness = 0.1 + 0.8 * time_axis / LONG_SECONDS
    (place / "preview").mkdir(exist_ok=True)
    tone = loudness * np.sin(2 * np.pi * 440 * time_axis)
    soundfile.write(place / "preview" / "01.wav", tone, LONG_RATE, subtype="PCM_16")
    return place
