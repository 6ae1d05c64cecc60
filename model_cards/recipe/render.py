"""Music rendered from notes: free of licences, and labelled exactly.

    apt-get install fluidsynth fluid-soundfont-gm
    pip install -r model_cards/recipe/requirements-rendering.txt
    python -m model_cards.recipe.render --output rendered --seconds 36000

This is not recorded music, and nobody composed it: `composing.py` puts notes together by simple
rules, in six genres of their own (piano, strings, winds, guitar, band, synth), and FluidSynth plays
them with the General MIDI soundfont FluidR3 (MIT). Tempo does not move and every note is written
down. Written are

    OUTPUT/piece-00000.flac   75 seconds or so each, mono
    OUTPUT/piece-00000.mid    its notes, as they were played
    OUTPUT/metadata.csv       file_name, genre, title, licence, ..., tempo, key, metre, form

Piece n is the same in every run with the same seed (its sound with the same FluidSynth and
soundfont), genres take turns, and pieces that are there are not made again: the same command goes
on where it was stopped, and a larger `--seconds` adds pieces.

FluidSynth plays at 44.1 kHz, whatever is asked for: at a lower rate recorded overtones would alias.
A minute of music takes about 1.5 s of one core.
"""

import shutil
import subprocess
import sys
import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jukebox_hf.audio import AudioTags, load_audio, save_audio
from jukebox_hf.files import write_atomically
from model_cards.recipe import loudness, song_folder
from model_cards.recipe.composing import GENRES, METRES, Score, compose
from model_cards.recipe.scripts import RecipeError, script, script_parser
from model_cards.recipe.song_folder import fill_folder, song_row

REQUIREMENTS = Path(__file__).with_name("requirements-rendering.txt")
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
PLAYED_RATE = 44_100
GAIN = 0.3  # of FluidSynth: no piece comes near full scale; all are made equally loud afterwards
TICKS = 480  # a quarter note
LICENCE = "CC0-1.0"
CREDIT = "made up by a program, played by FluidSynth with the soundfont FluidR3 GM (MIT, Frank Wen)"
COLUMNS = (*song_folder.COLUMNS, "tempo", "key", "metre", "form")


def to_midi(score: Score) -> Any:
    """A `mido.MidiFile` of a score: one track for tempo and metre, and one for each part.

    Raises `ImportError` when mido is not installed.
    """
    mido: Any = import_module("mido")
    numerator, denominator = (int(number) for number in METRES[score.metre].name.split("/"))
    file = mido.MidiFile(ticks_per_beat=TICKS)
    head = mido.MidiTrack()
    head.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(score.tempo)))
    head.append(mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator))
    head.append(mido.MetaMessage("end_of_track", time=round(score.quarters * TICKS)))
    file.tracks.append(head)
    for part in score.parts:
        track = mido.MidiTrack()
        track.append(mido.MetaMessage("track_name", name=part.name))
        change = mido.Message("program_change", program=part.program, channel=part.channel)
        track.append(change)
        # At one tick notes end before others begin, so that a repeated one sounds again.
        events = []
        for one in part.notes:
            begin = round(one.start * TICKS)
            end = max(round((one.start + one.length) * TICKS), begin + 1)
            events += [(begin, 1, one.pitch, one.velocity), (end, 0, one.pitch, 0)]
        now = 0
        for tick, starts, pitch, velocity in sorted(events):
            kind = "note_on" if starts else "note_off"
            track.append(
                mido.Message(
                    kind, note=pitch, velocity=velocity, channel=part.channel, time=tick - now
                )
            )
            now = tick
        file.tracks.append(track)
    return file


def play(midi: Path, soundfont: Path, sampling_rate: int) -> Tensor:
    """The sound of a MIDI file: (1, samples). Raises `RecipeError` with the reason why not."""
    if shutil.which("fluidsynth") is None:
        raise RecipeError("fluidsynth is not installed; on Debian: apt-get install fluidsynth")
    if not soundfont.is_file():
        raise RecipeError(
            f"there is no soundfont {soundfont}; install Debian's fluid-soundfont-gm, or name one "
            "with --soundfont"
        )
    with tempfile.TemporaryDirectory(prefix="rendering-") as folder:
        wave = Path(folder) / "played.wav"
        command = ["fluidsynth", "-q", "-ni", "-C", "0", "-g", str(GAIN), "-r", str(PLAYED_RATE)]
        command += ["-T", "wav", "-O", "float", "-F", str(wave), str(soundfont), str(midi)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not wave.is_file():
            lines = (done.stderr or done.stdout).strip().splitlines()
            reason = lines[-1] if lines else f"exit code {done.returncode}"
            raise RecipeError(f"fluidsynth did not play {midi.name}: {reason}")
        return load_audio(wave, sampling_rate, mono=True)


def make_piece(
    number: int, output: Path, *, seed: int, soundfont: Path, sampling_rate: int
) -> dict[str, str]:
    """Write one piece with its notes, unless it is there; returns its row of `metadata.csv`."""
    genre = GENRES[number % len(GENRES)]
    score = compose(seed * 1_000_003 + number, genre)
    title = f"piece-{number:05}"
    path = output / f"{title}.flac"
    tags = AudioTags(title=title, genre=genre, licence=LICENCE, comment=CREDIT)
    # The notes first: a piece that is there has its notes.
    if not path.exists():
        midi = path.with_suffix(".mid")
        write_atomically(midi, lambda file: to_midi(score).save(str(file)))
        audio = loudness.trim_silence(play(midi, soundfont, sampling_rate))
        if not audio.shape[1]:
            raise RecipeError(f"{soundfont} plays nothing but silence for {midi.name}")
        audio = loudness.normalise(audio, sampling_rate).audio
        save_audio(path, audio, sampling_rate, tags=tags)
    return {
        **song_row(path, tags, f"model_cards.recipe.render, seed {seed}"),
        "tempo": f"{score.tempo:g}",
        "key": score.key.name,
        "metre": score.metre,
        "form": score.form,
    }


def render(
    output: Path,
    *,
    seconds: float,
    seed: int = 0,
    soundfont: Path = SOUNDFONT,
    sampling_rate: int = 22_050,
) -> int:
    """Write pieces until there are so many seconds; returns how many pieces there are then.

    Raises `RecipeError` without mido, FluidSynth or its soundfont.
    """
    try:
        import_module("mido")
    except ImportError as error:
        raise RecipeError(
            f"mido is not installed ({error}); run: pip install -r {REQUIREMENTS}"
        ) from error
    make = partial(
        make_piece, output=output, seed=seed, soundfont=soundfont, sampling_rate=sampling_rate
    )
    return fill_folder(output, make, seconds=seconds, columns=COLUMNS, noun="pieces")


@script
def main(arguments: list[str]) -> None:
    parser = script_parser("render", __doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the pieces")
    parser.add_argument("--seconds", type=float, required=True, help="at least so much music")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--soundfont", type=Path, default=SOUNDFONT, help="%(default)s")
    parser.add_argument(
        "--sampling-rate", type=int, default=22_050, metavar="HZ", help="%(default)s"
    )
    given = parser.parse_args(arguments)
    if not given.seconds > 0:
        parser.error(f"--seconds must be more than 0, got {given.seconds:g}")
    if not 8000 <= given.sampling_rate <= 192_000:
        parser.error(f"--sampling-rate is from 8000 to 192000 Hz, got {given.sampling_rate}")
    torch.set_num_threads(1)
    count = render(
        given.output,
        seconds=given.seconds,
        seed=given.seed,
        soundfont=given.soundfont,
        sampling_rate=given.sampling_rate,
    )
    print(f"{count} pieces in {given.output}")


if __name__ == "__main__":
    sys.exit(main())
