"""`jukebox generate` on the former port's repository makes the original's greedy runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
from click.testing import CliRunner

from jukebox_cli.main import main
from jukebox_hf.generation.session import Session
from tests.generation.golden_systems import names_of_run, port_folder
from tests.golden_data import GOLDEN_ROOT, golden_stems, load_golden

RUNS = [
    stem
    for stem in golden_stems("sampling/1b_lyrics_*")
    if not stem.endswith("_partial") and (GOLDEN_ROOT / "transformers/1b_lyrics").is_dir()
]


def write_prompts(folder: Path, tensors: dict[str, Any], meta: dict[str, Any], rate: int) -> Path:
    """The run's takes as a prompts file; primers become files beside it."""
    lines = []
    for index, piece in enumerate(meta["metas"]):
        line = {
            "artist": piece["artist"],
            "genre": piece["genre"],
            "lyrics": piece["lyrics"],
            "seconds": meta["sample_length"] / rate,
            "total_seconds": piece["total_length"] / rate,
            "offset_seconds": piece["offset"] / rate,
        }
        if "prompt" in tensors:
            line["primer"] = f"{index}.wav"
            audio = tensors["prompt"][index].numpy()
            soundfile.write(folder / f"{index}.wav", audio, rate, subtype="FLOAT")
        lines.append(json.dumps(line))
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("stem", RUNS)
def test_command_on_the_port_repository_makes_the_original_run(stem: str, tmp_path: Path) -> None:
    tensors, meta = load_golden(stem)
    model = port_folder(tmp_path / "port", meta["model"], names_of_run(tensors, meta))
    prompts = write_prompts(tmp_path, tensors, meta, rate=44100)
    arguments = [
        "generate",
        "--model",
        str(model),
        "--prompts",
        str(prompts),
        "--device",
        "cpu",
        "--temperature",
        str(meta["temp"]),
        "--top-k",
        str(meta["top_k"]),
        "-o",
        str(tmp_path / "s"),
    ]
    for level, fraction in enumerate(meta["hop_fraction_by_level"]):
        arguments += ["--hop-fraction", f"{level}={fraction}"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    session = Session.open(tmp_path / "s")
    for index in range(len(meta["metas"])):
        codes = session.codes(index + 1)
        assert codes is not None
        for level, made in codes.levels.items():
            assert made[0].tolist() == tensors[f"codes_l{level}"][index].tolist()
        audio, _ = soundfile.read(session.audio_paths[index])
        expected = tensors["decoded_from_l0"][index, :, 0].clamp(-1, 1).numpy()
        assert abs(audio - expected).max() < 1e-5
    spans = {
        (row.take, row.start): row.lyric_span
        for window in session.record.windows
        if window.level == 2
        for row in window.rows
    }
    for window in meta["windows"]:
        if window["level"] == 2:
            for index, span in enumerate(window["first_last_lyric_index"]):
                assert spans[index + 1, window["start"]] == tuple(span)
