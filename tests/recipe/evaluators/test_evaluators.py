"""The networks' surroundings, without their weights: these are not installed where tests run."""

import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from model_cards.recipe.evaluators import musicnn, whisper
from model_cards.recipe.evaluators.tensorflow_checkpoint import MAGIC, read_checkpoint

# --- checkpoints of TensorFlow ---


def varint(number: int) -> bytes:
    found = b""
    while number >= 0x80:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A block of a table; each key leaves out what it shares with the one before."""
    found, before = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        found += varint(shared) + varint(len(key) - shared) + varint(len(value))
        found += key[shared:] + value
        before = key
    return found + struct.pack("<II", 0, 1) + b"\0" + b"sums"


def write_checkpoint(folder: Path, tensors: dict[str, np.ndarray]) -> tuple[Path, Path]:
    data, entries = b"", [(b"", field(1, 1))]
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        kind = {"float32": 1, "int64": 9}[values.dtype.name]
        shape = b"".join(field(2, field(1, size)) for size in values.shape)
        entry = field(1, kind) + field(2, shape) + field(4, len(data)) + field(5, values.nbytes)
        entries.append((name.encode(), entry + varint(6 << 3 | 5) + b"sums"))
        data += values.tobytes()
    half = len(entries) // 2
    table, handles = b"", []
    for part in (entries[:half], entries[half:]):
        found = block(part)
        handles.append((part[-1][0], varint(len(table)) + varint(len(found) - 5)))
        table += found
    index, start = block(handles), len(table)
    footer = varint(0) + varint(0) + varint(start) + varint(len(index) - 5)
    table += index + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    paths = folder / "model.index", folder / "model.data"
    paths[0].write_bytes(table)
    paths[1].write_bytes(data)
    return paths


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    written = {
        "dense/kernel": random.normal(size=(300, 4)).astype(np.float32),
        "dense/bias": random.normal(size=4).astype(np.float32),
        "dense_1/kernel": random.normal(size=(4, 3, 2)).astype(np.float32),
        "power": np.float32(0.9).reshape(()),
        "step": np.arange(3),
    }
    found = read_checkpoint(*write_checkpoint(tmp_path, written))
    assert sorted(found) == ["dense/bias", "dense/kernel", "dense_1/kernel", "power"]
    for name, values in found.items():
        np.testing.assert_array_equal(values, written[name])


@pytest.mark.parametrize("damage", ["foreign", "cut", "compressed"])
def test_damaged_checkpoints_are_refused(tmp_path: Path, damage: str) -> None:
    index, data = write_checkpoint(tmp_path, {"a": np.ones((2, 2), np.float32)})
    content = index.read_bytes()
    if damage == "foreign":
        content = b"something else" * 9
    if damage == "cut":
        data.write_bytes(data.read_bytes()[:7])
    if damage == "compressed":
        handle = content.rindex(b"sums")
        content = content[: handle - 1] + b"\1" + content[handle:]
    index.write_bytes(content)
    with pytest.raises(ValueError, match="is not a TensorFlow checkpoint that can be read"):
        read_checkpoint(index, data)


# --- musicnn ---

SHAPES = {
    "conv2d": (7, 38, 1, 204),
    "conv2d_1": (7, 67, 1, 204),
    "conv2d_2": (128, 1, 1, 51),
    "conv2d_3": (64, 1, 1, 51),
    "conv2d_4": (32, 1, 1, 51),
    "conv2d_5": (7, 561, 1, 64),
    "conv2d_6": (7, 64, 1, 64),
    "conv2d_7": (7, 64, 1, 64),
    "dense": (1506, 200),
    "dense_1": (200, 50),
}


@pytest.fixture(scope="module")
def network() -> musicnn.Musicnn:
    """The network with random weights."""
    random = np.random.default_rng(1)
    tensors = {}
    for name, shape in SHAPES.items():
        scale = 1 / np.sqrt(np.prod(shape[:-1]))
        tensors[f"{name}/kernel"] = random.normal(0, scale, shape).astype(np.float32)
        tensors[f"{name}/bias"] = random.normal(0, 0.1, shape[-1]).astype(np.float32)
    for number, size in enumerate((1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200)):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        for part in ("moving_mean", "beta"):
            tensors[f"{name}/{part}"] = random.normal(0, 0.1, size).astype(np.float32)
        for part in ("moving_variance", "gamma"):
            tensors[f"{name}/{part}"] = random.uniform(0.5, 1.5, size).astype(np.float32)
    return musicnn.Musicnn(tensors)


def test_patches_are_heard_one_by_one_as_together(network: musicnn.Musicnn) -> None:
    generator = torch.Generator().manual_seed(1)
    audio = 0.1 * torch.randn(10 * musicnn.SAMPLING_RATE, generator=generator)
    heard = network.hear(audio)
    assert heard.tags.shape == (3, 50)
    assert heard.embeddings.shape == (3, 200)
    spectrogram = musicnn.log_mel(audio)
    for number in range(3):
        alone = network(spectrogram[None, number * 187 : (number + 1) * 187])
        assert torch.allclose(alone.embeddings[0], heard.embeddings[number], atol=1e-5)
    assert len(network.hear(audio, hop_seconds=1.0).tags) == 8
    assert not torch.allclose(heard.embeddings[0], heard.embeddings[1], atol=1e-3)


def test_less_than_a_patch_is_refused(network: musicnn.Musicnn) -> None:
    with pytest.raises(ValueError, match=r"listens to 3 seconds at a time, got 2\.00"):
        network.hear(torch.zeros(2 * musicnn.SAMPLING_RATE))


def test_convolution_over_bands_equals_sums(network: musicnn.Musicnn) -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(1, 1, 10, 96, generator=generator)
    found = network._bands_to_one(image, 1)  # without padding: 4 frames
    kernel = network._tensors["conv2d_1/kernel"][:, :, 0, 5]
    sums = torch.stack(
        [(image[0, 0, 2:9, band : band + 67] * kernel).sum() for band in range(96 - 67 + 1)]
    )
    rectified = torch.relu(sums + network._tensors["conv2d_1/bias"][5])
    norm = {
        part: network._tensors[f"batch_normalization_2/{part}"][5]
        for part in ("moving_mean", "moving_variance", "gamma", "beta")
    }
    scaled = (rectified - norm["moving_mean"]) / (norm["moving_variance"] + 1e-3).sqrt()
    assert found.shape == (1, 204, 4)
    assert torch.allclose(found[0, 5, 2], (norm["gamma"] * scaled + norm["beta"]).max(), atol=1e-4)


def test_mel_bands_of_a_tone_peak_where_it_is() -> None:
    filters = musicnn.mel_filters()
    assert filters.shape == (96, 257)
    # Each band has an area of 1 over its hertz, as far as bins of 31 Hz can tell.
    areas = filters.sum(dim=1) * (musicnn.SAMPLING_RATE / musicnn.STFT_SIZE)
    assert torch.allclose(areas[20:], torch.ones(76), atol=0.2)
    time = torch.arange(musicnn.SAMPLING_RATE) / musicnn.SAMPLING_RATE
    bands = [
        int(musicnn.log_mel(torch.sin(2 * torch.pi * hertz * time))[30].argmax())
        for hertz in (300, 1000, 4000)
    ]
    # 96 bands from 0 to 45.2 mel, 1000 Hz is 15 mel and 4000 Hz 35.2.
    assert bands == [pytest.approx(mel / 45.245 * 97 - 1, abs=1) for mel in (4.5, 15, 35.164)]


# --- Whisper ---


def segment(text: str, no_speech: float = 0.1, compression: float = 1.2) -> whisper.Segment:
    found: whisper.Segment = SimpleNamespace(  # type: ignore[assignment]
        text=text, no_speech_prob=no_speech, compression_ratio=compression
    )
    return found


@pytest.mark.parametrize(
    ("text", "no_speech", "compression", "trusted"),
    [
        ("let the sun shine down on me", 0.1, 1.1, True),
        ("let the sun shine down on me", 0.7, 1.1, False),
        ("let the sun shine down on me", 0.1, 2.5, False),
        ("3-4-3-4-3-4-3-4", 0.1, 1.1, False),
        ("oh oh oh river take me home", 0.1, 1.1, True),
        ("thank you thank you thank you", 0.1, 1.1, False),
    ],
)
def test_doubtful_text_is_dropped(
    text: str, no_speech: float, compression: float, trusted: bool
) -> None:
    assert whisper.is_trusted(segment(text, no_speech, compression)) == trusted


def brute_force_loop(words: list[str]) -> bool:
    for period in range(1, len(words) + 1):
        for start in range(len(words)):
            for end in range(start + 3 * period, len(words) + 1):
                part = words[start:end]
                same = all(part[i] == part[i - period] for i in range(period, len(part)))
                if same and 2 * len(part) >= len(words):
                    return True
    return False


def texts() -> Iterator[list[str]]:
    for number in range(400):
        random = np.random.default_rng(number)
        yield ["ab"[int(draw)] for draw in random.integers(2, size=int(random.integers(1, 9)))]


def test_loops_are_found_by_trying_all() -> None:
    for words in texts():
        assert whisper.is_loop(words) == brute_force_loop(words), words


def test_the_model_is_asked_for_trusted_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    class Model:
        def transcribe(self, audio: Tensor, **options: object) -> tuple[list[object], None]:
            asked.update(options)
            return [segment(" Let the sun,"), segment("you you you you"), segment("Shine!")], None

    recogniser = whisper.Whisper.__new__(whisper.Whisper)
    recogniser._model = Model()
    assert recogniser.words(np.zeros(16_000, np.float32)) == ["let", "the", "sun", "shine"]
    assert asked["condition_on_previous_text"] is False
    assert asked["temperature"] == 0
    assert asked["no_repeat_ngram_size"] == 4
