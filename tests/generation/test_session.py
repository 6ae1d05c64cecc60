"""Sessions on disk: nothing is lost, nothing changes by an interruption, mistakes are named."""

import errno
import json
import os
import random
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from jukebox_hf.audio import read_tags
from jukebox_hf.generation import session_work
from jukebox_hf.generation.alignment import load_alignment
from jukebox_hf.generation.alignment_files import load_words
from jukebox_hf.generation.continuing import Source, continue_prompt, upsample_prompt
from jukebox_hf.generation.exporting import export_audio, export_codes
from jukebox_hf.generation.making import Generation
from jukebox_hf.generation.naming import name_tags
from jukebox_hf.generation.plan import Plan
from jukebox_hf.generation.preview import Previews
from jukebox_hf.generation.recording import folder_digest
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.session_files import (
    PREVIEW_FOLDER,
    preview_words_path,
    remove_previews,
)
from jukebox_hf.generation.session_names import session_folders
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.hub import System
from jukebox_hf.labels import JukeboxProcessor, VerbatimLyrics
from jukebox_hf.locks import FolderInUseError, locked
from tests.generation.making import assert_same_codes, plan_of
from tests.tiny import tiny_system

KILLS = 20


def prompts() -> dict[int, Prompt]:
    audio = torch.rand(1, 1500, generator=torch.Generator().manual_seed(0)) - 0.5
    return {
        1: Prompt(genre="rock", artist="ada", seconds=0.4),
        2: Prompt(genre="jazz", seconds=0.4, primer=audio),
        3: Prompt(seconds=0.6),
    }


def session_plan(system: System, **settings: Any) -> Plan:
    return plan_of(system, prompts(), to_level=1, chains={1: 2}, **settings)


def work(session: Session, system: System, batches: int | None = None) -> int:
    """Let a session work, for some batches or to its end; returns how many it made."""
    run = session.run(system, device="cpu", previews=False)
    made = 0
    for made, _ in enumerate(run, start=1):
        if made == batches:
            run.close()
            break
    return made


def codes_bytes(folder: Path) -> dict[str, bytes]:
    """The content of every codes file of a session."""
    return {path.name: path.read_bytes() for path in sorted((folder / "codes").iterdir())}


@pytest.fixture(scope="module")
def whole(tiny: System, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """An uninterrupted session."""
    folder = tmp_path_factory.mktemp("sessions") / "whole"
    session = Session.create(folder, session_plan(tiny), device="cpu")
    work(session, tiny)
    return Session.open(folder)


# --- what is written ---


@pytest.mark.parametrize(
    ("written", "products"),
    [
        ({}, "plain"),
        ({"packed_float32": True}, "packed"),
        ({"packed_float32": True, "transposed_float32": True}, "transposed"),
        ({"float32_products": "halved"}, "halved"),
    ],
)
def test_float32_is_multiplied_on_as_whichever_version_began(
    written: dict[str, Any],
    products: str,
    tiny: System,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Session.create(tmp_path / "song", session_plan(tiny), device="cpu")
    path = tmp_path / "song" / "session.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record.pop("float32_products", None)
    path.write_text(json.dumps(record | written), encoding="utf-8")
    asked = []
    load = Generation._load_prior
    monkeypatch.setattr(
        Generation, "_load_prior", lambda one, level: asked.append(one.float32) or load(one, level)
    )
    work(Session.open(tmp_path / "song"), tiny, batches=1)
    assert set(asked) == {products}


def test_session_says_what_was_done(whole: Session, tiny: System) -> None:
    record = json.loads((whole.folder / "session.json").read_text(encoding="utf-8"))
    assert record["format_version"] == 1
    assert record["complete"]
    assert record["settings"]["seed"] == 7
    assert record["settings"]["precision"] == "float32"
    assert record["settings"]["levels"]["1"]["chains"] == 2
    place = record["model"]["source"]
    assert place.startswith("../")
    assert (whole.folder / place).resolve() == Path(tiny.source).resolve()
    assert set(record["model"]["components"]) == {"vqvae", "prior_1", "prior_2"}
    assert record["model"]["codebook_fingerprint"].startswith("sha256:")
    assert {"python", "torch", "transformers"} <= set(record["versions"])
    assert record["batch_sizes"] == {"2": 3, "1": 6}
    assert record["takes"][0]["labels"]["2"]["artist_name"] == "ada"
    assert record["takes"][0]["labels"]["1"]["genre_ids"] == [1]
    made = {1: 0, 2: 0}
    for window in record["windows"]:
        assert window["seconds"] >= 0
        made[window["level"]] += window["new"] * len(window["rows"])
    assert made[2] == 25 + 25 - 11 + 37
    for entry in record["chains"]:
        assert len(entry["runs"]) == 2
        assert len(entry["seams"]) == 1
        assert set(entry["seams"][0]) == {"code", "seconds", "likeness"}


def test_audio_is_written_with_names_and_tags(whole: Session) -> None:
    names = [path.name for path in whole.audio_paths]
    assert names == [
        "01_ada_rock_7_level_1.flac",
        "02_jazz_7_level_1.flac",
        "03_7_level_1.flac",
    ]
    audio, rate = soundfile.read(whole.audio_paths[0])
    assert rate == 8000
    assert audio.shape == (3200,)
    tags = read_tags(whole.audio_paths[0])
    assert (tags["artist"], tags["genre"], tags["title"]) == ("ada", "rock", "Take 1")
    assert "generated by jukebox_hf" in tags["comment"]
    assert "seed: 7" in tags["comment"]


def test_names_that_no_level_knows_are_a_wish_in_the_comment() -> None:
    processor = JukeboxProcessor(artists={"unknown": 0, "ada": 1}, genres={"unknown": 0, "rock": 1})
    prompt = Prompt(artist="Nobody Known", genre="rock")
    tags = name_tags(prompt, {2: processor.resolve(prompt.artist, prompt.genre)})
    assert (tags["artist"], tags["genre"]) == (None, "rock")
    assert tags["comment"] == "artist asked for, which the model does not know: Nobody Known"
    known = Prompt(artist="Ada", genre="jazz")
    tags = name_tags(known, {2: processor.resolve(known.artist, known.genre)})
    assert (tags["artist"], tags["genre"]) == ("Ada", None)
    assert "genre asked for" in str(tags["comment"])


def test_nothing_else_is_left_in_the_folder(whole: Session) -> None:
    names = {path.name for path in whole.folder.iterdir() if path.suffix != ".flac"}
    assert names == {"session.json", "session.lock", "codes"}
    assert not list(whole.folder.rglob("*.partial"))


def test_lyrics_window_of_every_window_is_recorded(lyrical: System, tmp_path: Path) -> None:
    plan = plan_of(
        lyrical, {1: Prompt(lyrics="La la la la la la", seconds=0.8, total_seconds=1)}, to_level=2
    )
    session = Session.create(tmp_path / "s", plan, device="cpu")
    work(session, lyrical)
    spans = [row.lyric_span for w in session.record.windows for row in w.rows]
    assert len(spans) > 1
    assert all(last - first == 7 for first, last in spans)


# --- going on ---


def test_interrupted_after_every_batch_equals_uninterrupted(
    whole: Session, tiny: System, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    Session.create(folder, session_plan(tiny), device="cpu")
    steps = 0
    while not Session.open(folder).complete:
        steps += work(Session.open(folder), tiny, batches=1)
    assert steps == len(whole.record.windows)
    assert codes_bytes(folder) == codes_bytes(whole.folder)
    resumed = Session.open(folder)
    assert resumed.record.chains == whole.record.chains
    for path in whole.audio_paths:
        assert (folder / path.name).read_bytes() == path.read_bytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to save their imports")
def test_killed_at_random_moments_equals_uninterrupted(
    whole: Session, tiny: System, tmp_path: Path
) -> None:
    """kill -9 at twenty random moments, resumed each time: codes are equal byte for byte."""
    folder = tmp_path / "s"
    Session.create(folder, session_plan(tiny), device="cpu")
    chance = random.Random(1)
    kills = 0
    started = time.monotonic()
    while not Session.open(folder).complete:
        patience = chance.uniform(0.0, 0.4) if kills < KILLS else 60.0
        kills += run_in_fork(lambda: work(Session.open(folder), tiny), patience)
        if kills < KILLS and Session.open(folder).complete:
            shutil.rmtree(folder)  # it was quicker than its killer: once more from the beginning
            Session.create(folder, session_plan(tiny), device="cpu")
    assert not [path for path in folder.rglob(".*") if path.name != "session.lock"]
    assert kills == KILLS, f"{kills} kills in {time.monotonic() - started:.0f} s"
    assert codes_bytes(folder) == codes_bytes(whole.folder)
    for path in whole.audio_paths:
        assert (folder / path.name).read_bytes() == path.read_bytes()


def run_in_fork(run: Callable[[], object], patience: float) -> bool:
    """Run in a copy of this process; kill that after `patience` seconds; whether it was killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads, 3.12
        child = os.fork()
    if child == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            run()
            status = 0
        finally:
            os._exit(status)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert os.waitstatus_to_exitcode(status) == 0
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def test_a_record_that_does_not_say_what_chains_begin_with_means_nothing(
    tiny: System, tmp_path: Path
) -> None:
    """Sessions from before chains had a past go on to the codes that they would have had."""
    plan = session_plan(tiny, chain_starts="cold")
    work(Session.create(tmp_path / "old", plan, device="cpu"), tiny, batches=4)
    path = tmp_path / "old" / "session.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert "chain_starts" not in record["settings"]
    path.write_text(json.dumps(record), encoding="utf-8")
    session = Session.open(tmp_path / "old")
    session.check_same(session_plan(tiny))  # the same command goes on with it
    work(session, tiny)
    whole = Generation(plan)
    for _ in whole:
        pass
    assert_same_codes(
        {
            number: {level: codes[0] for level, codes in session.codes(number).levels.items()}
            for number in whole.codes
        },
        {number: {level: own[level] for level in (1, 2)} for number, own in whole.codes.items()},
    )


def test_a_record_behind_the_codes_makes_the_window_again(
    whole: Session, tiny: System, tmp_path: Path
) -> None:
    """Stopped between writing the codes and the record that knows of them."""
    folder = tmp_path / "s"
    session = Session.create(folder, session_plan(tiny), device="cpu")
    work(session, tiny, batches=2)
    earlier = (folder / "session.json").read_bytes()
    work(Session.open(folder), tiny, batches=2)
    (folder / "session.json").write_bytes(earlier)
    work(Session.open(folder), tiny)
    assert codes_bytes(folder) == codes_bytes(whole.folder)


def test_primer_is_not_needed_once_a_session_has_begun(tiny: System, tmp_path: Path) -> None:
    primer = tmp_path / "primer.wav"
    soundfile.write(primer, torch.rand(4000, 2).numpy() - 0.5, 16000)
    plan = plan_of(tiny, {1: Prompt(primer=primer, seconds=0.4)}, to_level=2)
    Session.create(tmp_path / "s", plan, device="cpu")
    assert (tmp_path / "s" / "primers" / "01.wav").is_file()
    primer.unlink()
    work(Session.open(tmp_path / "s"), tiny)
    assert Session.open(tmp_path / "s").complete
    assert not (tmp_path / "s" / "primers").exists()
    expected = Generation(plan)
    for _ in expected:
        pass
    codes = Session.open(tmp_path / "s").codes(1)
    assert codes is not None
    assert torch.equal(codes.levels[2][0], expected.codes[1][2])


def test_batch_sizes_of_the_beginning_are_kept(tiny: System, tmp_path: Path) -> None:
    plan = plan_of(tiny, 4, to_level=2)
    session = Session.create(tmp_path / "s", plan, device="cpu")
    session.record.batch_sizes = {2: 3}
    session._write()
    work(Session.open(tmp_path / "s"), tiny)
    record = Session.open(tmp_path / "s").record
    assert max(len(window.rows) for window in record.windows) == 3


# --- one at a time, and only the same ---


def test_one_process_at_a_time(tiny: System, tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s", plan_of(tiny, to_level=2), device="cpu")
    with locked(session.folder), pytest.raises(FolderInUseError, match="being worked on by"):
        work(session, tiny)
    work(session, tiny)


def test_lock_of_a_dead_process_is_no_hindrance(tiny: System, tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s", plan_of(tiny, to_level=2), device="cpu")
    (session.folder / "session.lock").write_text("999999", encoding="utf-8")
    work(session, tiny)
    assert Session.open(session.folder).complete


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "seed is 7 there and 8 here"),
        ({"precision": "bfloat16"}, "precision is 'float32' there and 'bfloat16' here"),
        ({"temperature": {2: 0.5}}, "temperature of level 2 is 0.99 there and 0.5 here"),
        ({"hop_fraction": 0.25}, "hop_fraction of level 1 is 0.5 there and 0.25 here"),
        ({"top_k": 3}, "top_k of level 1 is not given there and 3 here"),
        ({"to_level": 2}, "to_level is 1 there and 2 here"),
    ],
)
def test_other_settings_are_refused_by_name(
    change: dict[str, Any], message: str, tiny: System, tmp_path: Path
) -> None:
    plan = plan_of(tiny, 2, to_level=1)
    session = Session.create(tmp_path / "s", plan, device="cpu")
    session.check_same(plan)
    with pytest.raises(ValueError, match=message):
        session.check_same(plan_of(tiny, 2, **{"to_level": 1, **change}))


def test_other_prompts_and_models_are_refused(
    tiny: System, lyrical: System, tmp_path: Path
) -> None:
    plan = plan_of(tiny, {1: Prompt(genre="rock", seconds=0.3)})
    session = Session.create(tmp_path / "s", plan, device="cpu")
    with pytest.raises(ValueError, match="genre of take 1 is 'rock' there and 'jazz' here"):
        session.check_same(plan_of(tiny, {1: Prompt(genre="jazz", seconds=0.3)}))
    with pytest.raises(ValueError, match=r"seconds of take 1 is 0\.3 there and 0\.4 here"):
        session.check_same(plan_of(tiny, {1: Prompt(genre="rock", seconds=0.4)}))
    two = dict.fromkeys((1, 2), Prompt(genre="rock", seconds=0.3))
    with pytest.raises(ValueError, match="take 2 is not given there"):
        session.check_same(plan_of(tiny, two))
    with pytest.raises(ValueError, match="the model is another one"):
        session.check_same(plan_of(lyrical, {1: Prompt(genre="rock", seconds=0.3)}))


def test_model_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    system = System.open(folder)
    plan = plan_of(system, to_level=2)
    session = Session.create(tmp_path / "s", plan, device="cpu")
    shutil.rmtree(folder)
    tiny_system(folder, seed=1)
    with pytest.raises(ValueError, match="begun with another vqvae"):
        session.open_system()


def test_model_may_be_moved(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    system = System.open(folder)
    session = Session.create(tmp_path / "s", plan_of(system, to_level=2), device="cpu")
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        session.open_system()
    work(session, session.open_system(tmp_path / "elsewhere"))
    assert session.complete


def test_folder_with_other_things_is_refused(tiny: System, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="is not empty and holds no session"):
        Session.create(tmp_path, plan_of(tiny), device="cpu")


# --- things that go wrong ---


def test_full_disk_is_an_error_and_earlier_work_is_intact(
    whole: Session, tiny: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "s"
    session = Session.create(folder, session_plan(tiny), device="cpu")
    work(session, tiny, batches=3)
    before = codes_bytes(folder)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(session_work, "save_take", full)
        with pytest.raises(OSError, match="No space left"):
            work(Session.open(folder), tiny)
    assert codes_bytes(folder) == before
    work(Session.open(folder), tiny)
    assert codes_bytes(folder) == codes_bytes(whole.folder)


def damaged(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        content[-3] ^= 1
        path.write_bytes(content)
    elif how == "other":
        path.write_bytes(b"RIFF" * 100)
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["truncated", "flipped", "other", "missing"])
def test_damaged_codes_are_named_and_other_takes_are_safe(
    how: str, whole: Session, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    shutil.copytree(whole.folder, folder)
    damaged(folder / "codes" / "take_02.safetensors", how)
    session = Session.open(folder)
    with pytest.raises(ValueError, match=r"take_02\.safetensors"):
        session.codes(2)
    assert session.codes(1) is not None
    for path in session.audio_paths:
        path.unlink()
    session.record.complete = False
    session._write()
    with pytest.raises(ValueError, match=r"take_02\.safetensors"):
        work(session, session.open_system())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format_version": "one"}'])
def test_damaged_record_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "session.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"session\.json"):
        Session.open(tmp_path)


def test_record_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "session.json").write_text('{"format_version": 2}', encoding="utf-8")
    with pytest.raises(ValueError, match="format version 2"):
        Session.open(tmp_path)


def test_folder_without_session_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a session"):
        Session.open(tmp_path)


# --- previews ---


def test_preview_is_what_the_codes_decode_to(tiny: System, tmp_path: Path) -> None:
    plan = plan_of(tiny, {1: Prompt(seconds=0.5)}, to_level=1)
    generation = Generation(plan)
    previews = Previews(tmp_path, generation)
    path = tmp_path / PREVIEW_FOLDER / "01.wav"
    for report in generation:
        previews.update(now=True)
        level = report.level
        codes = generation.codes[1][level]
        audio, _ = soundfile.read(path, dtype="float32")
        decoded = generation.codec.decode(codes[None], level)[0, 0].clamp(-1, 1)
        heard = torch.from_numpy(audio[: len(decoded)])
        torch.testing.assert_close(heard, decoded, rtol=0, atol=2**-14)
        if level == 1:  # the rest is still the level above
            assert len(audio) == plan.takes[0].num_samples
    remove_previews(tmp_path)
    assert not (tmp_path / PREVIEW_FOLDER).exists()


def test_previews_are_there_while_a_session_works(tiny: System, tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s", plan_of(tiny, 2, to_level=1), device="cpu")
    for report in session.run(tiny, device="cpu"):
        if report.level_done and report.level == 2:
            names = sorted(p.name for p in (tmp_path / "s" / PREVIEW_FOLDER).iterdir())
            assert names == ["01.wav", "02.wav"]
    assert not (tmp_path / "s" / PREVIEW_FOLDER).exists()


def test_previews_have_what_a_window_under_way_has(
    tiny: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jukebox_hf.generation.sampling.CODES_PER_REPORT", 3)
    plan = plan_of(tiny, {1: Prompt(seconds=0.5), 2: Prompt(seconds=0.5, genre="jazz")}, to_level=1)
    expected = Generation(plan)
    for _ in expected:
        pass
    path = tmp_path / PREVIEW_FOLDER / "02.wav"
    heard: dict[int, list[int]] = {1: [], 2: []}

    def listen(level: int, codes: int, total: int) -> None:
        previews.update(now=True)
        made = generation.codes_so_far(2, level)
        assert torch.equal(made, expected.codes[2][level][: len(made)])
        heard[level].append(len(made))
        if level == 2 and len(made):
            audio, _ = soundfile.read(path, dtype="float32")
            decoded = generation.codec.decode(made[None], level)[0, 0].clamp(-1, 1)
            torch.testing.assert_close(torch.from_numpy(audio), decoded, rtol=0, atol=2**-14)

    generation = Generation(plan, on_codes=listen)
    previews = Previews(tmp_path, generation)
    for _ in generation:
        pass
    assert heard[2][:4] == [0, 3, 6, 9]  # long before the first window of 31 codes is complete
    assert all(later >= sooner for sooner, later in pairwise(heard[1]))
    for number in (1, 2):
        assert torch.equal(generation.codes[number][1], expected.codes[number][1])


# --- going on from what exists ---


def test_continuing_keeps_what_is_there_and_adds(whole: Session, tiny: System) -> None:
    start = Source(whole.folder).start(1)
    prompt = continue_prompt(start, seconds=0.3, from_seconds=0.2)
    assert prompt.genre == "rock"
    assert prompt.total_seconds == pytest.approx(whole.take(1).total_samples / 8000)
    plan = plan_of(tiny, {1: prompt}, to_level=1, seed=99)
    generation = Generation(plan)
    for _ in generation:
        pass
    kept = 1600 // 128  # of 0.2 seconds, in whole top codes
    for level, factor in ((2, 1), (1, 4)):
        made = generation.codes[1][level]
        assert torch.equal(made[: kept * factor], start.codes.levels[level][0, : kept * factor])
        assert len(made) == (12 * 128 + 2400) // 128 * factor
    assert not torch.equal(
        generation.codes[1][2][kept : 2 * kept], start.codes.levels[2][0, kept : 2 * kept]
    )


def test_continuing_needs_something_to_go_on_from(whole: Session, tmp_path: Path) -> None:
    start = Source(whole.folder).start(1)
    with pytest.raises(ValueError, match=r"lasts 0\.40 seconds; it cannot be continued from 3"):
        continue_prompt(start, seconds=1, from_seconds=3)
    with pytest.raises(ValueError, match=r"nothing is left before 0\.001 seconds"):
        continue_prompt(start, seconds=1, from_seconds=0.001)
    with pytest.raises(ValueError, match="has no take 9; it has 1, 2, 3"):
        Source(whole.folder).start(9)


def test_upsampling_a_sketch_equals_making_it_at_once(tiny: System, tmp_path: Path) -> None:
    prompt = Prompt(genre="rock", seconds=0.3)
    sketch = Session.create(
        tmp_path / "sketch",
        plan_of(tiny, dict.fromkeys((1, 2), prompt), to_level=2),
        device="cpu",
    )
    work(sketch, tiny)
    start = Source(sketch.folder).start(2)
    plan = plan_of(tiny, {2: upsample_prompt(start)}, to_level=1)
    finished = Session.create(tmp_path / "finished", plan, device="cpu")
    work(finished, tiny)
    at_once = Generation(plan_of(tiny, {2: prompt}, to_level=1))
    for _ in at_once:
        pass
    codes = finished.codes(2)
    assert codes is not None
    assert torch.equal(codes.levels[1][0], at_once.codes[2][1])


def test_kept_takes_are_gone_on_with(whole: Session, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(whole.folder, folder)
    session = Session.open(folder)
    assert Source(folder).numbers == [1, 2, 3]
    session.keep([2])
    assert Source(folder).numbers == [2]
    with pytest.raises(ValueError, match="has no take 5"):
        session.keep([5])


def test_export_writes_audio_and_codes_elsewhere(whole: Session, tmp_path: Path) -> None:
    (wav,) = export_audio(whole, [2], tmp_path / "out", audio_format="wav")
    assert wav.name == "02_jazz_7.wav"
    expected, _ = soundfile.read(whole.audio_paths[1])
    found, _ = soundfile.read(wav)
    assert (abs(expected - found) < 1e-6).all()
    with pytest.raises(FileExistsError, match="exists"):
        export_audio(whole, [2], tmp_path / "out", audio_format="wav")
    (codes,) = export_codes(whole, [2], tmp_path / "out", overwrite=False)
    assert Source(codes).start(1).num_samples == 3200
    with pytest.raises(FileExistsError, match="exists"):
        export_codes(whole, [2], tmp_path / "out", overwrite=False)


def test_export_decodes_what_is_not_finished(tiny: System, tmp_path: Path) -> None:
    plan = plan_of(tiny, {1: Prompt(seconds=0.6)}, to_level=1)
    session = Session.create(tmp_path / "s", plan, device="cpu")
    with pytest.raises(ValueError, match="has no codes yet"):
        export_audio(session, [1], tmp_path / "out")
    work(session, tiny, batches=1)
    (path,) = export_audio(Session.open(tmp_path / "s"), [1], tmp_path / "out", device="cpu")
    assert soundfile.info(path).frames == 32 * 128  # one window of the top level


def test_sessions_of_a_folder_are_found(whole: Session) -> None:
    assert session_folders(whole.folder) == [whole.folder]
    assert session_folders(whole.folder.parent) == [whole.folder]


# --- lyrics ---


def lyric_plan(system: System) -> Plan:
    words = {1: Prompt(lyrics="La la la\nla la la", seconds=0.6), 2: Prompt(seconds=0.6)}
    return plan_of(system, words, to_level=2)


@pytest.mark.parametrize(
    "lyrics", ["[00:00.10]La la\n[00:00.40]la", "la [1:02.00] la\nla la [0:30.00] oh"]
)
def test_sessions_that_sing_the_times_in_their_lyrics_go_on_as_they_were_begun(
    lyrical: System, tmp_path: Path, lyrics: str
) -> None:
    """As those of versions that took no text for timed lyrics; others read them as ever."""
    codes = []
    for name in ("verbatim", "read"):
        words = VerbatimLyrics(lyrics) if name == "verbatim" else lyrics
        plan = plan_of(lyrical, {1: Prompt(lyrics=words, seconds=0.6)}, to_level=2)
        Session.create(tmp_path / name, plan, device="cpu")
        session = Session.open(tmp_path / name)
        work(session, lyrical, 1)
        session = Session.open(tmp_path / name)
        assert session.restore_plan(lyrical).takes[0].labels == plan.takes[0].labels
        work(session, lyrical)
        codes.append(codes_bytes(tmp_path / name))
    sung = Session.open(tmp_path / "verbatim").take(1)
    assert sung.prompt.lyrics == lyrics
    assert codes[0] != codes[1]


def test_words_are_aligned_and_lie_beside_the_audio(lyrical: System, tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s", lyric_plan(lyrical), device="cpu")
    work(session, lyrical)
    names = Session.open(tmp_path / "s").take(1).alignment
    stem = "01_7_level_2"
    endings = ("alignment.npz", "words.json", "lrc", "alignment.png", "karaoke.html")
    assert names == [f"{stem}.{ending}" for ending in endings]
    assert all((tmp_path / "s" / name).stat().st_size > 0 for name in names)
    assert Session.open(tmp_path / "s").take(2).alignment == []
    generation = Generation(lyric_plan(lyrical))
    for _ in generation:
        pass
    found = load_alignment(tmp_path / "s" / names[0])
    expected = generation.alignments[1]
    assert found.lyrics == expected.lyrics == "La la la\nla la la"
    torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=1e-3)


def test_words_are_known_before_the_finer_levels_are_made(lyrical: System, tmp_path: Path) -> None:
    plan = plan_of(lyrical, {1: Prompt(lyrics="La la la", seconds=0.3)}, to_level=1)
    session = Session.create(tmp_path / "s", plan, device="cpu")
    known = []
    for report in session.run(lyrical, device="cpu"):
        if report.level_done and report.level == 2:
            known = load_words(preview_words_path(tmp_path / "s", 1))
    assert known
    (path,) = (tmp_path / "s").glob("01_*.words.json")
    assert load_words(path) == known
    assert not (tmp_path / "s" / PREVIEW_FOLDER).exists()


def test_alignment_survives_an_interruption(lyrical: System, tmp_path: Path) -> None:
    """Stopped when the codes are there, before the audio is: the words are aligned afterwards."""
    contents = []
    for name, batches in (("a", None), ("b", 2)):
        session = Session.create(tmp_path / name, lyric_plan(lyrical), device="cpu")
        work(session, lyrical, batches=batches)
        if name == "b":
            for path in (tmp_path / name / "codes").glob("*_alignment.npz"):
                path.unlink()
        work(Session.open(tmp_path / name), lyrical)
        session = Session.open(tmp_path / name)
        assert session.complete
        (npz, *_) = session.take(1).alignment
        contents.append(load_alignment(tmp_path / name / npz).weights)
    assert torch.equal(*contents)


def test_session_of_another_device_goes_on_here(tiny: System, tmp_path: Path) -> None:
    """Begun as CUDA graphs, gone on with where there are none."""
    folder = tmp_path / "s"
    plan = plan_of(tiny, to_level=2, backend="graph")
    Session.create(folder, plan, device="cpu")
    work(Session.open(folder), tiny)
    here = Session.create(tmp_path / "here", plan_of(tiny, to_level=2), device="cpu")
    work(here, tiny)
    assert codes_bytes(folder) == codes_bytes(here.folder)


def test_remarks_on_labels_may_be_worded_otherwise(tiny: System, tmp_path: Path) -> None:
    plan = plan_of(tiny, {1: Prompt(artist="nobody", seconds=0.2)}, to_level=2)
    session = Session.create(tmp_path / "s", plan, device="cpu")
    session.record.takes[0].labels[2].notes = ("said otherwise",)
    session.restore_plan(tiny)
    session.record.takes[0].labels[2].artist_id = 3
    with pytest.raises(ValueError, match="its vocabularies have changed"):
        session.restore_plan(tiny)


def test_files_that_change_nothing_do_not_make_another_model(tmp_path: Path) -> None:
    """What tells other libraries of a codec, or how it was trained, may come later."""
    found = []
    for names in ((), ("training.json", "preprocessor_config.json"), ("other.json",)):
        place = tiny_system(tmp_path / str(len(found))) / "vqvae"
        (place / "preprocessor_config.json").unlink(missing_ok=True)
        for name in names:
            (place / name).write_text("{}", encoding="utf-8")
        found.append(folder_digest(place))
    assert found[0] == found[1]
    assert found[0] != found[2]
