"""One audio file to codes, section by section: the codes of encoding it at once."""

from pathlib import Path

import pytest
import torch

from jukebox_hf.audio import AudioReader, load_audio, save_audio
from jukebox_hf.data import file_codes
from jukebox_hf.data.file_codes import encode_audio
from tests.audio.sounds import noisy_sweep
from tests.tiny import SAMPLING_RATE, tiny_vqvae


@pytest.mark.parametrize("section_seconds", [0.001, 0.1, 0.37])
@pytest.mark.parametrize("num_samples", [128, 1000, 4097, 12_345])
def test_sections_are_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section_seconds: float, num_samples: int
) -> None:
    vqvae = tiny_vqvae()
    path = save_audio(
        tmp_path / "x.wav", noisy_sweep(num_samples, SAMPLING_RATE), SAMPLING_RATE
    ).path
    expected = vqvae.encode(load_audio(path, SAMPLING_RATE)[None])
    monkeypatch.setattr(file_codes, "SECTION_SECONDS", section_seconds)
    done: list[int] = []
    with AudioReader(path, SAMPLING_RATE) as reader:
        codes = encode_audio(vqvae, reader, on_progress=done.append)
    for level in range(3):
        assert torch.equal(codes.levels[level], expected[level])
    assert done == sorted(done)
    assert done[-1] == num_samples


def test_a_file_that_ends_early_gives_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vqvae = tiny_vqvae()
    path = save_audio(tmp_path / "x.flac", noisy_sweep(5000, SAMPLING_RATE), SAMPLING_RATE).path
    expected = vqvae.encode(load_audio(path, SAMPLING_RATE)[None])
    content = bytearray(path.read_bytes())
    content[22:26] = (9000).to_bytes(4, "big")  # the header's length in samples
    path.write_bytes(content)
    monkeypatch.setattr(file_codes, "SECTION_SECONDS", 0.1)
    with AudioReader(path, SAMPLING_RATE) as reader:
        codes = encode_audio(vqvae, reader)
    assert all(torch.equal(codes.levels[level], expected[level]) for level in range(3))
    assert "ends after 0.62 seconds, although its header promises 1.12" in caplog.text


def test_a_part_is_encoded_as_if_nothing_were_around_it(tmp_path: Path) -> None:
    vqvae = tiny_vqvae()
    path = save_audio(tmp_path / "x.wav", noisy_sweep(9000, SAMPLING_RATE), SAMPLING_RATE).path
    expected = vqvae.encode(load_audio(path, SAMPLING_RATE)[None, :, 1001:5002], [1, 2])
    with AudioReader(path, SAMPLING_RATE) as reader:
        codes = encode_audio(vqvae, reader, [2, 1, 2], start=1001, stop=5002, origin={"a": "b"})
    assert torch.equal(codes.levels[1], expected[0])
    assert torch.equal(codes.levels[2], expected[1])
    assert (codes.origin, codes.fingerprint) == ({"a": "b"}, vqvae.fingerprint())


@pytest.mark.parametrize(
    ("levels", "stop", "message"),
    [
        ([3], None, r"this codec has levels 0 to 2, got 3"),
        ([], None, "at least one level to encode, got none"),
        ([2], 127, r"lasts 0\.0159 seconds, less than the 0\.0160 of one code at level 2"),
    ],
)
def test_impossible_requests_are_refused(
    tmp_path: Path, levels: list[int], stop: int | None, message: str
) -> None:
    path = save_audio(tmp_path / "x.wav", noisy_sweep(900, SAMPLING_RATE), SAMPLING_RATE).path
    with (
        AudioReader(path, SAMPLING_RATE) as reader,
        pytest.raises(ValueError, match=message),
    ):
        encode_audio(tiny_vqvae(), reader, levels, stop=stop)


def test_readers_of_another_rate_are_refused(tmp_path: Path) -> None:
    path = save_audio(tmp_path / "x.wav", noisy_sweep(900, 16000, 2), 16000).path
    with (
        AudioReader(path, 2 * SAMPLING_RATE, mono=False) as reader,
        pytest.raises(ValueError, match="needs one channel at 8000 Hz, got 2 at 16000 Hz"),
    ):
        encode_audio(tiny_vqvae(), reader)
