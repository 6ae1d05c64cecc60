"""Music made by a tiny model, and noise, beside each other."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from jukebox_cli.main import main
from jukebox_hf.codes import Codes
from jukebox_hf.data import encode_dataset, open_codes, open_songs
from jukebox_hf.generation.plan import make_plan
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.hub import System
from jukebox_hf.listening.music_evaluation import evaluate_music
from jukebox_hf.representations import JukeboxEmbedder
from tests.tiny import SAMPLING_RATE, tiny_system

SECONDS = 4.0


def write_noise(folder: Path, count: int, seconds: float = SECONDS, gain: float = 0.1) -> Path:
    folder.mkdir()
    for number in range(count):
        random = np.random.default_rng(number)
        audio = gain * random.standard_normal(round(seconds * SAMPLING_RATE))
        soundfile.write(folder / f"{number}.wav", audio.astype(np.float32), SAMPLING_RATE)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_system(tmp_path_factory.mktemp("evaluated") / "model")


@pytest.fixture(scope="module")
def embedder(model: Path) -> JukeboxEmbedder:
    return JukeboxEmbedder.from_pretrained(str(model), level=1, device="cpu")


def test_music_beside_itself_differs_in_nothing_and_is_a_copy(tmp_path: Path) -> None:
    embedder = JukeboxEmbedder.from_pretrained(device="cpu")  # its codes tell songs apart
    songs = write_noise(tmp_path / "songs", 3)
    found = evaluate_music(songs, songs, embedder, seconds=SECONDS, clips=3)
    assert (found.samples, found.clips) == (3, 3)
    for measure in found.measures.values():
        assert measure.samples == measure.reference
        assert measure.difference.mean == 0
    assert found.copies is not None
    assert found.copies.most == 1.0
    assert found.copies.sample == found.copies.song
    assert found.copies.second == found.copies.song_second
    assert found.copies.control is not None
    assert found.copies.control.mean < 0.5
    encode_dataset(open_songs(songs).songs, embedder.vqvae, tmp_path / "codes", levels=[2])
    again = evaluate_music(
        songs, songs, embedder, seconds=SECONDS, clips=3, codes=open_codes(tmp_path / "codes")
    )
    assert again.copies == found.copies
    shortest = evaluate_music(
        songs, songs, embedder, seconds=3.0, clips=3, codes=open_codes(tmp_path / "codes")
    )
    assert shortest.copies is not None  # as long as what is looked for
    assert shortest.copies.most == 1.0
    assert found.seams is None
    assert any("no session" in remark for remark in found.remarks)


def test_codes_of_another_codec_are_refused(embedder: JukeboxEmbedder, tmp_path: Path) -> None:
    songs = write_noise(tmp_path / "songs", 2)
    codec = JukeboxEmbedder.from_pretrained(device="cpu").vqvae
    encode_dataset(open_songs(songs).songs, codec, tmp_path / "codes")
    with pytest.raises(ValueError, match="not of the prior's codec"):
        evaluate_music(songs, songs, embedder, codes=open_codes(tmp_path / "codes"))


def test_a_piece_that_was_generated_so_long_is_long_enough(
    embedder: JukeboxEmbedder, tmp_path: Path
) -> None:
    songs = write_noise(tmp_path / "songs", 4, seconds=5.0)
    whole = 256 * 128  # samples of the codes of the top level that are made of 4.1 seconds
    assert whole < 4.1 * SAMPLING_RATE
    made = write_noise(tmp_path / "made", 2, seconds=whole / SAMPLING_RATE)
    found = evaluate_music(made, songs, embedder, seconds=4.1, clips=4, copies=False)
    assert (found.samples, found.clips) == (2, 4)
    cut = write_noise(tmp_path / "cut", 2, seconds=(whole - 1) / SAMPLING_RATE)
    with pytest.raises(ValueError, match=r"holds 0 pieces of 4\.1 seconds or more"):
        evaluate_music(cut, songs, embedder, seconds=4.1, clips=4, copies=False)


def test_what_differs_is_found(embedder: JukeboxEmbedder, tmp_path: Path) -> None:
    songs = write_noise(tmp_path / "songs", 8)
    quiet = write_noise(tmp_path / "quiet", 5, gain=0.001)
    found = evaluate_music(quiet, songs, embedder, seconds=SECONDS, clips=8)
    loudness = found.measures["rms_db"].difference
    assert loudness.mean == pytest.approx(-40, abs=0.5)
    assert loudness.high < -39
    assert found.measures["onset_strength"].difference.high < 0
    assert found.distance is not None
    assert found.distance.rows > 0
    record = json.loads(json.dumps(found.to_record()))
    assert record["measures"]["rms_db"]["difference"]["mean"] == loudness.mean


def test_a_session_brings_its_seams_and_codes(
    model: Path, embedder: JukeboxEmbedder, tmp_path: Path
) -> None:
    system = System.open(model)
    top = torch.randint(0, 16, (1, 250), generator=torch.Generator().manual_seed(0))
    config = system.vqvae_config()
    codes = Codes({2: top}, config.hop_lengths, config.sampling_rate, config.codebook_fingerprint)
    prompts = {number: Prompt(seconds=SECONDS, primer=codes) for number in (1, 2)}
    plan = make_plan(
        system, prompts, seed=1, precision="float32", to_level=1, chains={1: 3}, backend="eager"
    )
    session = Session.create(tmp_path / "session", plan, device="cpu")
    for _ in session.run(device="cpu", previews=False):
        pass
    songs = write_noise(tmp_path / "songs", 4)
    found = evaluate_music(session.folder, songs, embedder, seconds=SECONDS, clips=4)
    assert found.num_seams == 4
    assert found.seams is not None
    assert found.seams.mean > 0


def test_command_prints_a_table_draws_a_picture_and_refuses_what_is_not_there(
    model: Path, tmp_path: Path
) -> None:
    songs = write_noise(tmp_path / "songs", 4)
    picture = tmp_path / "picture.png"
    words = ["evaluate", "music", str(songs), "--reference", str(songs), "--model", str(model)]
    words += ["--seconds", "4", "--clips", "4", "--device", "cpu", "--quiet"]
    result = CliRunner().invoke(main, [*words, "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    assert "loudness (dB of full scale)" in result.stdout
    assert picture.read_bytes()[:4] == b"\x89PNG"
    refused = CliRunner().invoke(main, [*words, "--picture", str(picture)])
    assert refused.exit_code == 2
    assert "exists; choose another name" in refused.stderr
    plain = CliRunner().invoke(main, [*words, "--no-copies"])
    assert "codes found again" in result.stdout
    assert "codes found again" not in plain.stdout
    both = CliRunner().invoke(main, [*words, "--no-copies", "--codes", str(tmp_path)])
    assert both.exit_code == 2
    assert "leave out --no-copies" in both.stderr
    none = CliRunner().invoke(main, ["evaluate", "music", "/no/such", "--reference", str(songs)])
    assert none.exit_code == 1
    assert none.stderr == "Error: there is no folder /no/such\n"
    short = CliRunner().invoke(main, [*words, "--seconds", "60"])
    assert short.exit_code == 1
    assert "two are needed" in short.stderr
