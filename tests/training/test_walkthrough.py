"""The README's way from nothing to sound, run as it stands there, on tunes made up for it."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jukebox_hf.training.reports import read_log

ROOT = Path(__file__).parents[2]
RATE = 11025
# Two kinds of music that a small model can tell apart.
SCALES = {"major": [0, 2, 4, 5, 7, 9, 11, 12], "minor": [0, 2, 3, 5, 7, 8, 10, 12]}


def write_tunes(folder: Path, *, songs_each: int = 4, seconds: float = 20.0) -> None:
    """Plucked notes at random out of a scale, with `metadata.csv`."""
    folder.mkdir()
    rows = ["file_name,artist,genre"]
    for genre, scale in SCALES.items():
        for number in range(songs_each):
            rng = np.random.default_rng([number, len(genre), sum(scale)])
            step = 0.25 if genre == "major" else 0.5
            audio = np.zeros(int(seconds * RATE))
            for start in np.arange(0, seconds - 1, step):
                time = np.arange(RATE) / RATE
                pitch = 220 * 2 ** (rng.choice(scale) / 12)
                note = sum(np.sin(2 * np.pi * k * pitch * time) / k**2 for k in (1, 2, 3))
                first = int(start * RATE)
                audio[first : first + RATE] += 0.2 * note * np.exp(-6 * time)
            name = f"{genre}_{number}.wav"
            soundfile.write(folder / name, audio.astype(np.float32), RATE)
            rows.append(f"{name},{genre} player,{genre}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")


def readme_commands() -> list[list[str]]:
    """The commands of the README's walk-through."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    (block,) = [block for block in blocks if "--preset toy_vqvae" in block]
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


def test_the_walk_through_stands_in_the_readme() -> None:
    commands = [" ".join(command[:3]) for command in readme_commands()]
    assert commands[0] == "jukebox train vqvae"
    assert commands[-1].startswith("jukebox generate")
    assert sum(command == "jukebox train prior" for command in commands) == 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_from_nothing_to_sound(tmp_path: Path) -> None:
    write_tunes(tmp_path / "SONGS")
    for command in readme_commands():
        done = subprocess.run(
            [sys.executable, "-m", "jukebox_hf", *command[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
    (song,) = [Path(line) for line in done.stdout.split() if line.endswith((".wav", ".flac"))]
    audio, rate = soundfile.read(tmp_path / song)
    assert rate == RATE
    assert len(audio) == pytest.approx(10 * RATE, rel=0.05)
    seconds = audio[: len(audio) // RATE * RATE].reshape(-1, RATE)
    assert np.sqrt((seconds**2).mean(axis=1)).min() > 0.005  # -46 dB: never silent for long
    assert np.abs(audio).max() < 0.999  # nothing clipped

    codec = read_log(tmp_path / "runs" / "codec", "evaluation")
    assert codec[-1]["loss"] < codec[0]["loss"]
    for run in ("top", "system"):
        prior = read_log(tmp_path / "runs" / run, "evaluation")[-1]
        assert prior["bits_per_code"] < prior["unigram_bits"] - 0.5
