"""`JukeboxPipeline`: words to music in a few lines of Python, and nothing on disk unless asked."""

import inspect
import io
import re
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import soundfile
import torch

from jukebox_hf import Codes, JukeboxPipeline, Prompt, load_codes
from jukebox_hf.audio import resample
from jukebox_hf.generation import Request, Wanted
from jukebox_hf.sampling_settings import LevelSettings
from tests.generation.making import make, plan_of


@pytest.fixture(scope="module")
def pipeline(tiny_folder: Path) -> JukeboxPipeline:
    return JukeboxPipeline.from_pretrained(tiny_folder, device="cpu")


def test_music_in_one_call(
    pipeline: JukeboxPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    music = pipeline.generate(genre="rock", seconds=0.2, takes=2, seed=3, total_seconds=4.0)
    assert [audio.shape for audio in music.audio] == [(1, 1536)] * 2
    assert music.sampling_rate == 8000
    assert music.seed == 3
    assert music.takes[1].level == 0
    assert not list(tmp_path.iterdir())
    prompt = Prompt(genre="rock", seconds=0.2, total_seconds=4.0)
    expected = make(pipeline.system, plan_of(pipeline.system, {1: prompt}, seed=3))
    codes = music.takes[0].codes
    assert codes is not None
    assert all(torch.equal(codes.levels[level][0], own) for level, own in expected[1].items())


def test_music_window_by_window_can_be_stopped_and_gone_on_with(
    pipeline: JukeboxPipeline,
) -> None:
    whole = pipeline.generate(seconds=0.6, seed=1, to_level=1)
    run = pipeline.start(seconds=0.6, seed=1, to_level=1)
    for report in run:
        if report.level == 1:
            break
    sketch = run.music()
    assert sketch.takes[0].level == 2
    assert sketch.audio[0].shape == (1, 37 * 128)
    for _ in run:
        pass
    assert torch.equal(run.music().audio[0], whole.audio[0])


def test_nothing_is_there_before_anything_is_made(pipeline: JukeboxPipeline) -> None:
    music = pipeline.start(seconds=0.6).music()
    assert music.audio == []
    assert music.takes[0].codes is None


def test_seed_is_drawn_and_told(pipeline: JukeboxPipeline) -> None:
    first, second = (pipeline.generate(seconds=0.1, to_level=2) for _ in range(2))
    assert first.seed != second.seed
    again = pipeline.generate(seconds=0.1, to_level=2, seed=first.seed)
    assert torch.equal(again.audio[0], first.audio[0])


def test_prompts_one_per_take(pipeline: JukeboxPipeline) -> None:
    music = pipeline.generate(
        prompts=[Prompt(genre="rock", seconds=0.1), Prompt(artist="nobody", seconds=0.2)],
        to_level=2,
    )
    assert [audio.shape[1] for audio in music.audio] == [768, 1536]
    assert any("artist 'nobody' is not known" in note for note in music.notes)
    assert [take.file_name for take in music.takes] == [
        f"01_rock_{music.seed}",
        f"02_nobody_{music.seed}",
    ]


def test_primer_as_tensor(pipeline: JukeboxPipeline) -> None:
    music = pipeline.generate(primer=torch.rand(2, 1000) - 0.5, seconds=0.3, to_level=2)
    assert music.audio[0].shape == (1, 18 * 128)


def test_words_are_aligned(lyric_folder: Path, tmp_path: Path) -> None:
    pipeline = JukeboxPipeline.from_pretrained(lyric_folder, device="cpu")
    music = pipeline.generate(lyrics="La la la la", seconds=0.3, to_level=2)
    alignment = music.takes[0].alignment
    assert alignment is not None
    assert alignment.weights.shape == (18, 11)
    music.save(tmp_path)
    assert len(list(tmp_path.glob(f"01_{music.seed}.*"))) == 6
    named = pipeline.start(lyrics="La la", artist="nobody", genre="rock", seconds=0.3, seed=5)
    assert named.music().takes[0].page_notes.splitlines() == [
        f"Made by {pipeline.system.title}, seed 5",
        "Asked for: artist nobody, genre rock",
        "Used: artist unknown, genre rock",
    ]
    assert pipeline.generate(seconds=0.3, to_level=2).takes[0].alignment is None


def test_saving_writes_audio_and_codes(pipeline: JukeboxPipeline, tmp_path: Path) -> None:
    music = pipeline.generate(genre="jazz", seconds=0.1, seed=2, to_level=2)
    (report,) = music.save(tmp_path / "out", audio_format="wav", codes=True)
    assert report.path == tmp_path / "out" / "01_jazz_2.wav"
    assert soundfile.info(report.path).frames == 768
    codes = music.takes[0].codes
    assert codes is not None
    stored = load_codes(tmp_path / "out" / "01_jazz_2.safetensors")
    assert torch.equal(stored.levels[2], codes.levels[2])
    with pytest.raises(FileExistsError):
        music.save(tmp_path / "out", audio_format="wav")
    music.save(tmp_path / "out", audio_format="wav", overwrite=True)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"takes": 0}, "takes must be 1 to 10000"),
        ({"seconds": -1}, "seconds must be above 0"),
        ({"seed": -1}, "seed must be from 0"),
        ({"to_level": 5}, "there is no level 5"),
        ({"prompts": []}, "there is nothing to make"),
        ({"temperature": {7: 1.0}}, "temperature is given for level 7"),
        ({"prompts": [Prompt()], "genre": "rock"}, "prompts take the place of genre"),
        ({"primer": "x.wav", "primer_sampling_rate": 8000}, "goes with a primer that is an array"),
        ({"primer_start_seconds": 1}, "there is no primer to take a part of with primer_start_s"),
        ({"prompts": [Prompt(primer_end_seconds=1)]}, "there is no primer to take a part of with"),
        (
            {"primer": Codes({2: torch.zeros(1, 4, dtype=torch.long)}, (8, 32, 128), 8000)}
            | {"primer_start_seconds": 0.1},
            "primer_start_seconds: codes are a primer as a whole; take a part of them with Codes",
        ),
        (
            {"primer": np.zeros((100, 2, 2))},
            r"primer must be \(channels, samples\) or \(samples,\)",
        ),
        ({"primer": np.zeros((900, 2))}, "transpose it"),
        ({"primer": np.zeros(900, np.int16)}, "primer must be floating-point numbers, got"),
        ({"primer": np.full(900, np.nan)}, "primer holds samples that are not finite"),
        ({"primer": np.zeros(900), "primer_sampling_rate": 0}, "rate must be a positive integer"),
        ({"sed": 1}, "Did you mean 'seed'"),
    ],
)
def test_impossible_requests_are_refused(
    request_: dict[str, object], message: str, pipeline: JukeboxPipeline
) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline.start(**request_)  # type: ignore[arg-type]


def test_missing_devices_and_models_are_named(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or mps"):
        JukeboxPipeline.from_pretrained(tiny_folder, device="gpu9")
    with pytest.raises(FileNotFoundError):
        JukeboxPipeline.from_pretrained(tmp_path / "none")


# --- as Python and notebooks have it ---


def test_every_word_of_a_request_is_an_argument_of_generate() -> None:
    """What can be asked for is known from `Request`; the pipeline has its own precision."""
    arguments = inspect.signature(JukeboxPipeline.generate).parameters
    assert all(one.kind is one.KEYWORD_ONLY for one in list(arguments.values())[1:])
    names = {one.name for one in fields(Prompt)} - {"level_names"}  # what artist and genre give
    asked = {*names, "takes", "prompts", "seed", "to_level"}
    asked |= {one.name for one in fields(LevelSettings)} | {"primer_sampling_rate"}
    assert set(arguments) - {"self", "progress", "callback"} == asked
    typed, wanted = get_type_hints(JukeboxPipeline.generate), get_type_hints(Wanted)
    assert {name: typed[name] for name in wanted} == wanted
    assert set(wanted) == asked
    Request.new(dict.fromkeys(asked - {"primer_sampling_rate"}))  # knows all of them


def test_progress_is_told_in_seconds_and_shown_if_asked(
    pipeline: JukeboxPipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, float, float]] = []
    pipeline.generate(
        seconds=0.6, seed=1, to_level=1, progress=True, callback=lambda *now: told.append(now)
    )
    shown = capsys.readouterr()
    assert "Level 2: 100%" in shown.err
    assert "0.6 s of audio" in shown.err
    assert not shown.out
    assert [level for level, *_ in told] == sorted((level for level, *_ in told), reverse=True)
    for level in (2, 1):
        seconds = [done for each, done, _ in told if each == level]
        assert seconds == sorted(seconds)
        assert seconds[-1] == pytest.approx(0.592)
        assert all(total == pytest.approx(0.592) for each, _, total in told if each == level)
    pipeline.generate(seconds=0.1, to_level=2)
    pipeline.generate(seconds=0.1, to_level=2, progress=False)
    assert capsys.readouterr().err == ""  # where no terminal is, nothing is shown by itself


def test_a_notebook_without_widgets_shows_bars_of_text_and_takes_of_one_line(
    pipeline: JukeboxPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OutStream(io.StringIO):
        """What IPython's kernel puts in the place of stderr: no terminal."""

    OutStream.__module__ = "ipykernel.iostream"
    shown = OutStream()
    monkeypatch.setattr("sys.stderr", shown)
    music = pipeline.generate(artist="x" * 200, seconds=0.1, to_level=2)
    assert "Level 2: 100%" in shown.getvalue()
    line = repr(music.takes[0])
    assert re.fullmatch(r"Take\(1, 'xxx.*\.\.\..*': 0\.\d+ s from level 2\)", line)
    assert len(line) < 130


def test_a_callback_can_end_the_work(pipeline: JukeboxPipeline) -> None:
    def stop(level: int, seconds: float, total: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.generate(seconds=0.1, to_level=2, callback=stop)


def test_arrays_go_in_at_their_rate_and_come_out(pipeline: JukeboxPipeline) -> None:
    generator = np.random.default_rng(1)
    stereo = generator.uniform(-0.5, 0.5, (2, 4000)).astype(np.float32)
    wanted: Wanted = {"seconds": 0.4, "seed": 1, "to_level": 2}
    given = pipeline.generate(primer=stereo, primer_sampling_rate=16000, **wanted)
    resampled = resample(torch.from_numpy(stereo), 16000, 8000)
    same = pipeline.generate(primer=resampled, **wanted)
    (array,) = given.numpy()
    assert array.dtype == np.float32
    assert np.array_equal(array, same.audio[0].numpy())
    codes = given.takes[0].codes
    assert codes is not None
    assert codes.numpy()[2].shape == (1, 25)
    assert torch.equal(Codes(codes.numpy(), (8, 32, 128), 8000).levels[2], codes.levels[2])  # type: ignore[arg-type]
    assert pipeline.sampling_rate == 8000


def test_moving_chooses_the_precision_of_the_device_unless_one_was_asked_for(
    tiny_folder: Path,
) -> None:
    pipeline = JukeboxPipeline.from_pretrained(tiny_folder, device="cpu", precision="bfloat16")
    assert pipeline.to("cpu") is pipeline
    assert pipeline.precision == "bfloat16"
    free = JukeboxPipeline.from_pretrained(tiny_folder, device="cpu")
    assert free.to(torch.device("meta")).device.type == "meta"
    assert free.precision == "float32"
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or mps"):
        free.to("gpu9")
