"""`JukeboxPipeline`: words to music in a few lines of Python, and nothing on disk unless asked."""

from pathlib import Path

import pytest
import soundfile
import torch

from jukebox_hf import JukeboxPipeline, Prompt, load_codes
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
    with pytest.raises(ValueError, match=r"a primer is \(channels, samples\)"):
        pipeline.start(primer=torch.rand(1000))


def test_words_are_aligned(lyric_folder: Path, tmp_path: Path) -> None:
    pipeline = JukeboxPipeline.from_pretrained(lyric_folder, device="cpu")
    music = pipeline.generate(lyrics="La la la la", seconds=0.3, to_level=2)
    alignment = music.takes[0].alignment
    assert alignment is not None
    assert alignment.weights.shape == (18, 11)
    music.save(tmp_path)
    assert len(list(tmp_path.glob(f"01_{music.seed}.*"))) == 6
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
        ({"takes": 0}, "takes must be at least 1"),
        ({"seconds": -1}, "seconds must be above 0"),
        ({"seed": -1}, "seed must be from 0"),
        ({"to_level": 5}, "there is no level 5"),
        ({"prompts": []}, "there is nothing to make"),
        ({"temperature": {7: 1.0}}, "temperature is given for level 7"),
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
