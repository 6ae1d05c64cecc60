"""JukeboxEmbedder: batches change nothing, long songs are covered as said, misuse is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from jukebox_hf import Codes, JukeboxEmbedder, save_codes
from jukebox_hf.hub.system import System
from jukebox_hf.prior import kernels
from jukebox_hf.representations import parse_layers
from jukebox_hf.representations.embedding_windows import adjacent_windows, code_windows, true_timing
from jukebox_hf.representations.frames import num_frames, resample_states
from jukebox_hf.representations.inputs import CodesInput
from tests.tiny import CODEBOOK_SIZE, CONTEXT_LENGTH, SAMPLING_RATE, Lyrics, tiny_system

HOP = 128
ALL = (1, 2, 3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("systems")
    kinds: tuple[Lyrics, ...] = ("none", "encoder", "sequence")
    return {kind: tiny_system(root / kind, kind) for kind in kinds}


def open_embedder(folder: Path, **options: Any) -> JukeboxEmbedder:
    return JukeboxEmbedder.from_pretrained(folder, **{"layers": ALL, "device": "cpu", **options})


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.1, int(seconds * SAMPLING_RATE))
    return np.cumsum(noise).astype(np.float32) / 20


def codes(length: int, seed: int = 0, levels: tuple[int, ...] = (2,)) -> Codes:
    drawn = torch.Generator().manual_seed(seed)
    hops = {0: 16, 1: 4, 2: 1}
    return Codes(
        {
            level: torch.randint(0, CODEBOOK_SIZE, (1, length * hops[level]), generator=drawn)
            for level in levels
        },
        (8, 32, 128),
        SAMPLING_RATE,
    )


def test_windows_cover_every_code_once_and_reach_far_back() -> None:
    for context in range(1, 7):
        for hop in range(1, context + 1):
            for length in range(1, 20):
                windows = code_windows(length, context, hop)
                kept = [place for w in windows for place in range(w.kept, w.stop)]
                assert kept == list(range(length))
                assert windows[-1].stop == length
                for window in windows:
                    assert window.stop - window.start == min(context, length)
                    if window.kept:  # documented: at least context - hop codes of past
                        assert window.kept - window.start >= context - hop
            assert adjacent_windows(context, context) == code_windows(context, context, 1)


def test_true_timing_stays_within_what_the_prior_knows() -> None:
    limits: dict[str, Any] = {
        "min_total_seconds": 60.0,
        "max_total_seconds": 600.0,
        "sampling_rate": 44100,
        "hop_length": 128,
        "window_samples": 1048576,
    }
    assert true_timing(44100, 0, **limits) == (2646016, 0)
    assert true_timing(44100 * 1000, 44100 * 900, **limits).total_samples == 26459904
    song = true_timing(44100 * 100 + 7, 44100 * 90, **limits)
    assert song.offset_samples == song.total_samples - 1048576


@pytest.mark.parametrize("kind", ["none", "encoder", "sequence"])
def test_a_batch_of_uneven_inputs_equals_each_by_itself(
    folders: dict[str, Path], kind: str
) -> None:
    """In float32 to the last bit, whatever the size of the batches."""
    layers = ALL if kind != "sequence" else (1, 16)
    inputs = [codes(length, seed=length) for length in (1, 5, 31, 32, 33, 70, 7, 64)]
    one = open_embedder(folders[kind], batch_size=1, layers=layers)
    alone = [one(each) for each in inputs]
    for batch_size in (2, 3, 8):
        many = open_embedder(folders[kind], batch_size=batch_size, layers=layers)
        together = many(inputs)
        for ours, theirs in zip(together.files, alone, strict=True):
            assert np.array_equal(ours.codes, theirs.codes)
            for layer in layers:
                assert np.array_equal(ours[layer], theirs[layer])


@pytest.mark.parametrize("level", [0, 1])
def test_an_upsampler_has_states_too(folders: dict[str, Path], level: int) -> None:
    embedder = open_embedder(folders["none"], level=level)
    found = embedder([sound(0.2), sound(0.13, 1)])
    alone = embedder(sound(0.13, 1))
    hop = (8, 32)[level]
    assert found.files[0][3].shape == (int(0.2 * SAMPLING_RATE) // hop // 4 * 4, 16)
    assert np.array_equal(found.files[1][3], alone[3])
    given = codes(8, levels=(level, level + 1))
    assert embedder(given)[1].shape == (8 * (16, 4)[level], 16)


@pytest.mark.parametrize("kind", ["none", "encoder", "sequence"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "int8"])
def test_layer_by_layer_equals_the_whole_prior(
    folders: dict[str, Path], kind: str, precision: str
) -> None:
    whole = open_embedder(folders[kind], precision=precision)
    layered = open_embedder(folders[kind], precision=precision, layer_by_layer=True)
    inputs = [codes(length, seed=length) for length in (5, 40, 70)]
    expected, found = whole(inputs), layered(inputs)
    for ours, theirs in zip(found.files, expected.files, strict=True):
        for layer in ALL:
            assert np.array_equal(ours[layer], theirs[layer])
    assert len(layered.prior.decoder.layers) == 1
    again = layered(inputs[0], pool="mean")
    np.testing.assert_allclose(again[3], expected.files[0][3].mean(axis=0), rtol=1e-5, atol=1e-5)


def test_states_of_a_long_song_are_those_of_the_windows_documented(
    folders: dict[str, Path],
) -> None:
    embedder = open_embedder(folders["none"], timing="true")
    song = codes(101)
    found = embedder(song)
    (piece,) = embedder.preparation()(CodesInput("song", song)).pieces
    assert len(piece.windows) == 6
    for window, timing in zip(piece.windows, piece.timings, strict=True):
        assert timing.offset_samples == window.start * HOP
        part = piece.codes[window.start : window.stop][None]
        alone = embedder.states(part, timing=timing)
        for layer in ALL:
            ours = found[layer][window.kept : window.stop]
            theirs = alone[layer][0, window.kept - window.start :].detach().numpy()
            assert np.array_equal(ours, theirs)


def test_means_and_frames_are_those_of_the_states(folders: dict[str, Path]) -> None:
    embedder = open_embedder(folders["none"])
    for length in (1, 9, 32, 101):
        states = embedder(codes(length))
        pooled = embedder(codes(length), pool="mean")
        frames = embedder(codes(length), rate=7)
        count = num_frames(length, 7, SAMPLING_RATE / HOP)
        for layer in ALL:
            np.testing.assert_allclose(pooled[layer], states[layer].mean(axis=0), atol=2e-5)
            expected = resample_states(torch.from_numpy(states[layer]), count)
            np.testing.assert_allclose(frames[layer], expected.numpy(), atol=1e-6)
        assert frames.times.shape == (count,)
        assert pooled.stacked().shape == (3, 16)


def test_resampling_keeps_the_mean_and_slow_waves() -> None:
    time = torch.arange(96) / 96
    wave = torch.stack([torch.sin(2 * torch.pi * time), 3 + torch.cos(4 * torch.pi * time)], dim=1)
    for frames in (5, 31, 48, 96, 200):
        there = torch.arange(frames) / frames
        expected = torch.stack(
            [torch.sin(2 * torch.pi * there), 3 + torch.cos(4 * torch.pi * there)], dim=1
        )
        torch.testing.assert_close(resample_states(wave, frames), expected, rtol=0, atol=2e-6)


def test_windows_of_audio_are_embedded_by_themselves(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    embedder = open_embedder(folders["none"])
    audio = sound(1.1)
    soundfile.write(tmp_path / "song.wav", audio, SAMPLING_RATE, subtype="FLOAT")
    found = embedder(tmp_path / "song.wav", window_seconds=0.25, stride_seconds=0.1)
    assert found[1].shape == (9, 15, 16)
    np.testing.assert_allclose(found.times[:, 0], np.arange(9) * 0.1)
    piece = audio[1600:3600]
    expected = embedder(piece / np.abs(piece).max())
    assert np.array_equal(found[2][2], expected[2])
    same = embedder(tmp_path / "song.wav", start_seconds=0.2, end_seconds=0.45)
    assert np.array_equal(same[2], expected[2])
    assert embedder(tmp_path / "song.wav", window_seconds=0.25, pool="mean")[1].shape == (4, 16)


def test_every_kind_of_input_gives_the_same(folders: dict[str, Path], tmp_path: Path) -> None:
    embedder = open_embedder(folders["none"])
    audio = sound(0.5)
    path = tmp_path / "song.wav"
    soundfile.write(path, audio, SAMPLING_RATE, subtype="FLOAT")
    expected = embedder(path)
    loud = audio / np.abs(audio).max()
    found = [
        embedder(str(path)),
        embedder(loud),
        embedder(torch.from_numpy(loud)[None]),
        embedder({"array": audio, "sampling_rate": SAMPLING_RATE}),
        embedder({"path": str(path), "bytes": None}),
        embedder({"path": None, "bytes": path.read_bytes()}),
    ]
    held = Codes({2: torch.from_numpy(expected.codes)[None]}, (8, 32, 128), SAMPLING_RATE)
    save_codes(tmp_path / "song.codes.safetensors", held)
    found.append(embedder(tmp_path / "song.codes.safetensors"))
    for one in found:
        assert np.array_equal(one[3], expected[3])
    columns = embedder.map_batch(pool="mean")({"audio": [{"path": str(path), "bytes": None}] * 2})
    assert list(columns) == ["layer_1", "layer_2", "layer_3"]
    assert np.array_equal(columns["layer_2"][1], embedder(path, pool="mean")[2])


def test_a_dataset_is_mapped_in_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    from datasets import Audio, Dataset

    embedder = open_embedder(folders["none"])
    paths = []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.wav"))
        soundfile.write(paths[-1], sound(0.2 + number / 10, number), SAMPLING_RATE)
    dataset = Dataset.from_dict({"audio": paths}).cast_column("audio", Audio(decode=False))
    dataset = dataset.map(embedder.map_batch(pool="mean"), batched=True, batch_size=2)
    assert dataset.column_names == ["audio", "layer_1", "layer_2", "layer_3"]
    expected = embedder(paths, pool="mean")
    np.testing.assert_allclose(np.array(dataset["layer_3"]), expected[3], rtol=1e-6)


@pytest.mark.parametrize("maker", ["AuthenticAMD", "GenuineIntel"])
def test_gradients_flow_into_the_layers(
    folders: dict[str, Path], maker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every processor: through packed weights they would not."""
    monkeypatch.setattr(kernels, "processor_maker", lambda: maker)
    embedder = open_embedder(folders["encoder"], layers=[2])
    states = embedder.states(codes(20).levels[2])
    states[2].square().mean().backward()
    layers = embedder.prior.decoder.layers
    assert len(layers) == 2
    assert all(layer.mlp.expand.weight.grad is not None for layer in layers)


def test_only_the_layers_that_are_needed_are_held(folders: dict[str, Path]) -> None:
    assert len(open_embedder(folders["none"], layers=[1]).prior.decoder.layers) == 1
    with pytest.raises(ValueError, match="layer 3 was not loaded, only layers 1 to 2"):
        open_embedder(folders["none"], layers=[2])(codes(5), layers=[3])


def test_infinite_states_are_counted(folders: dict[str, Path]) -> None:
    embedder = open_embedder(folders["none"])
    with torch.no_grad():
        embedder.prior.decoder.layers[1].mlp.contract.bias[:2] = torch.inf
    found = embedder(codes(5))
    assert found.nonfinite == {2: 10, 3: 80}
    assert embedder(codes(5), pool="mean").nonfinite[2] == 10


def test_silence_and_cut_songs_are_said(folders: dict[str, Path]) -> None:
    embedder = open_embedder(folders["none"])
    silent = embedder(np.zeros(4000, np.float32))
    assert silent.notes == ("it is silent",)
    assert np.isfinite(silent[1]).all()
    cut = embedder(sound(1.0), span="first")
    assert cut.notes == ("only its first 0.512 of 1 s are embedded",)
    assert cut[1].shape[0] == CONTEXT_LENGTH


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [0]}, "layers count from 1, got layer 0"),
        ({"layers": [4]}, "prior of level 2 has layers 1 to 3, got layer 4"),
        ({"layers": [2, 2]}, "layer 2 is named more than once"),
        ({"layers": []}, "at least one layer"),
        ({"rate": 63}, r"rate must be at most 62\.5 per second"),
        ({"rate": 0}, "rate must be more than 0"),
        ({"window_seconds": 0.6}, r"window of 0\.6 s is longer than the context .* 0\.512 s"),
        ({"window_seconds": 0.001}, "less than one code"),
        ({"stride_seconds": 1.0}, "a stride needs a window"),
        ({"span": "first", "hop_fraction": 0.25}, "hop_fraction has no effect with span 'first'"),
        ({"pool": "max"}, "pool must be one of none, mean, got 'max'"),
        ({"like": "librosa"}, "like must be one of jukemirlib, edge, jukemir, sheetsage"),
        ({"like": "edge", "layers": None}, "layers 1 to 3, got layer 66"),
        ({"level": 3}, "has priors of level 0, 1, 2, not of level 3"),
        ({"precision": "int4"}, "precision must be one of float32, float16, bfloat16, int8"),
        ({"end_seconds": 1.0, "start_seconds": 2.0}, "end_seconds must be after"),
    ],
)
def test_settings_are_refused_before_any_weight_is_read(
    folders: dict[str, Path], options: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(System, "load_prior", fail)
    monkeypatch.setattr(System, "load_vqvae", fail)
    with pytest.raises(ValueError, match=message):
        open_embedder(folders["none"], **options)


def test_inputs_that_cannot_be_embedded_are_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    embedder = open_embedder(folders["none"])
    other = Codes({2: torch.zeros(1, 4, dtype=torch.int64)}, (8, 32, 128), 44100)
    marked = Codes(codes(4).levels, (8, 32, 128), SAMPLING_RATE, fingerprint="sha256:" + "0" * 64)
    for source, message in (
        (np.zeros(100, np.float32), r"lasts 0\.0125 s, less than one code of level 2 \(0\.016 s\)"),
        (np.zeros((4000, 2), np.float32), r"\(channels, samples\) is \(4000, 2\)"),
        (np.zeros(4000, np.int16), "must be floating-point numbers"),
        (np.full(4000, np.nan, np.float32), "not finite numbers"),
        (other, "128 samples per code at 44100 Hz, but this prior 128 at 8000 Hz"),
        (marked, "was made with another codec"),
        (codes(4, levels=(1,)), "holds codes of level 1, not of level 2"),
        (7, "expected a path, an array, codes"),
    ):
        with pytest.raises(ValueError, match=message):
            embedder(source)
    with pytest.raises(FileNotFoundError, match="there is no audio file"):
        embedder(tmp_path / "missing.wav")
    with pytest.raises(ValueError, match=r"less than one window of 0\.3 s"):
        embedder(sound(0.2), window_seconds=0.3)
    with pytest.raises(ValueError, match="there is no setting 'layer'"):
        embedder(sound(0.2), layer=3)


def test_layers_are_read_from_text() -> None:
    assert parse_layers("36, 53,66", 72) == (36, 53, 66)
    assert parse_layers("1-3,5", 5) == (1, 2, 3, 5)
    assert parse_layers("all", 4) == (1, 2, 3, 4)
    for text, message in (
        ("", "names no layers"),
        ("thirty", "names no layers"),
        ("3-2", "layers 1 to 72, got 3-2"),
        ("1-73", "layers 1 to 72, got 1-73"),
        ("0", "count from 1"),
        ("36,36", "layer 36 is named more than once"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_layers(text, 72)
