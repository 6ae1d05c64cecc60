"""`jukebox encode --dataset`: songs to a folder of codes, and what is said on the way."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jukebox_cli.main import main
from jukebox_hf.data import encoding, open_codes
from tests.data.song_files import write_song, write_songs
from tests.tiny import SAMPLING_RATE


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Three songs of which one is silent, and a file that is none."""
    folder = write_songs(tmp_path / "music", [1.0, 0.5], rate=SAMPLING_RATE)
    write_song(folder / "silent.wav", sound=0 * write_silence())
    (folder / "text.mp3").write_text("no music")
    (folder / "metadata.csv").write_text(
        'file_name,who,genre\nsong_0.wav,"Ä, B",rock\nsong_1.wav,,jazz\nsilent.wav,,\ntext.mp3,,\n',
        encoding="utf-8",
    )
    return folder


def write_silence():  # type: ignore[no-untyped-def]
    from tests.data.song_files import make_sound

    return make_sound(1.0)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["encode", *map(str, arguments)], prog_name="jukebox")


def test_songs_become_a_folder_of_codes(music: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "codes"
    arguments = ("--dataset", music, "--model", tiny_model, "-o", output, "--artist-column", "who")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{output}\n"
    assert "Skipped 2 songs:\n  silent.wav: silent: nothing in it is" in result.stderr
    assert "  text.mp3: " in result.stderr
    assert f"Encoded 2 songs; {output} holds 2." in result.stderr
    codes = open_codes(output)
    assert [song.artist for song in codes.songs] == ["Ä, B", "unknown"]
    assert codes.info.levels == (0, 1, 2)
    assert codes.info.model == tiny_model.name  # not where it is
    write_song(music / "song_2.wav", 0.7, rate=SAMPLING_RATE)
    (music / "metadata.csv").unlink()
    write_song(music / "song_3.wav", 0.3, rate=SAMPLING_RATE)
    again = run(
        "--dataset", music, "--model", tiny_model, "-o", output, "--json", "-q",
        "--min-seconds", "0.4",
    )  # fmt: skip
    assert again.exit_code == 0, again.output
    record = json.loads(again.stdout)
    assert (record["encoded"], record["songs"], record["complete"]) == (1, 3, True)
    assert [song["name"] for song in record["skipped"]] == [
        "silent.wav",
        "song_3.wav",
        "text.mp3",
    ]
    assert again.stderr == ""


def test_parts_make_a_whole(music: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "codes"
    arguments = ("--dataset", music, "--model", tiny_model, "-o", output, "--levels", "2")
    first = run(*arguments, "--shard", "2/2")
    assert first.exit_code == 0, first.output
    assert "This was part 2 of 2; others have not finished." in first.stderr
    second = run(*arguments, "--shard", "1/2")
    assert second.exit_code == 0, second.output
    assert "others have not finished" not in second.stderr
    assert open_codes(output).info.levels == (2,)
    assert len(open_codes(output)) == 2


def test_tables_can_be_streamed(tiny_model: Path, tmp_path: Path) -> None:
    from datasets import Dataset

    path = write_song(tmp_path / "a.wav", 0.5, rate=SAMPLING_RATE)
    (tmp_path / "table").mkdir()
    rows = {"sound": [path.read_bytes()], "artist": ["A"]}
    Dataset.from_dict(rows).to_parquet(tmp_path / "table" / "train.parquet")
    output = tmp_path / "codes"
    result = run(
        "--dataset", tmp_path / "table", "--model", tiny_model, "-o", output, "--streaming",
        "--audio-column", "sound",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert open_codes(output).songs[0].artist == "A"
    assert "Found 1 song; 1 artist; no genres known; none with lyrics." in result.stderr


def test_interruption_says_how_to_go_on(
    music: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--dataset", music, "--model", tiny_model, "-o", tmp_path / "codes")
    take = encoding._Run.take

    def interrupt(self, song):  # type: ignore[no-untyped-def]
        if song.name == "song_1.wav":
            raise KeyboardInterrupt
        take(self, song)

    with monkeypatch.context() as patched:
        patched.setattr(encoding._Run, "take", interrupt)
        result = run(*arguments)
    assert result.exit_code == 130
    assert "The songs that are done are kept; the same command goes on from there." in result.stderr
    assert "Encoded 1 song;" in run(*arguments).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give audio files, - for audio on standard input, or --dataset DIR_OR_REPO"),
        (["a.wav", "--shard", "1/2"], 2, "--shard says something about a dataset; give --dataset"),
        (["a.wav", "--genre-column", "x"], 2, "--genre-column says something about a dataset"),
        (["--dataset", "MUSIC", "a.wav"], 2, "--dataset goes without AUDIO"),
        (["--dataset", "MUSIC", "--overwrite"], 2, "--dataset goes without AUDIO, --start, --end"),
        (["--dataset", "MUSIC"], 2, "--dataset needs -o FOLDER, where the codes go"),
        (
            ["--dataset", "MUSIC", "-o", "OUT", "--shard", "3/2"],
            2,
            "'3/2' is not a part; give it as",
        ),
        (
            ["--dataset", "MUSIC", "-o", "OUT", "--levels", "3"],
            1,
            "levels are 0 (finest) to 2, but",
        ),
        (["--dataset", "MUSIC", "-o", "MUSIC"], 1, "is not empty and holds no dataset of codes"),
        (
            ["--dataset", "MUSIC", "-o", "OUT", "--lyrics-column", "x"],
            1,
            "no column 'x' for the lyrics; its columns are: file_name, who, genre",
        ),
        (["--dataset", "./gone", "-o", "OUT"], 1, "there is no folder './gone'"),
    ],
)
def test_mistakes_are_one_clear_line(
    music: Path, tiny_model: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    places = {"MUSIC": music, "OUT": tmp_path / "out"}
    result = run(*(places.get(word, word) for word in arguments), "--model", tiny_model)
    assert result.exit_code == code, result.output
    text = " ".join(result.stderr.split())
    assert message in text
    assert "Traceback" not in text
    assert not (tmp_path / "out").exists()


def test_options_that_have_no_effect_are_refused(
    music: Path, tiny_model: Path, tmp_path: Path
) -> None:
    arguments = ["--dataset", music, "--model", tiny_model, "-o", tmp_path / "codes"]
    expected = {
        ("--revision", "main"): f"--revision has no effect on {music}, which is not on the Hub",
        ("--subset", "x"): f"--subset has no effect on {music}, which has no configurations",
    }
    for option, message in expected.items():
        result = run(*arguments, *option)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "codes").exists()
    assert run(*arguments).exit_code == 0
    for command in (["evaluate", tiny_model], ["train", "prior", "-o", tmp_path / "run"]):
        codes = tmp_path / "codes"
        names = [*command, "--dataset", codes, "--artist-column", "who"]
        result = CliRunner().invoke(main, [*map(str, names)], prog_name="jukebox")
        assert result.exit_code == 2
        assert f"--artist-column has no effect on {codes}, which holds codes" in " ".join(
            result.stderr.split()
        )


def test_a_configuration_of_tables_in_a_folder_has_an_effect(tmp_path: Path) -> None:
    from datasets import Dataset

    from jukebox_hf.data import holds_tables

    table = Dataset.from_dict({"audio": [b""]})
    (tmp_path / "parquet").mkdir()
    table.to_parquet(tmp_path / "parquet" / "train.parquet")
    table.save_to_disk(tmp_path / "saved")
    assert holds_tables(tmp_path / "parquet")
    assert not holds_tables(tmp_path / "saved")


@pytest.mark.parametrize("command", ["encode", "embed", "train"])
def test_every_command_says_what_it_made_of_a_table(
    command: str, tiny_model: Path, tmp_path: Path
) -> None:
    folder = write_songs(tmp_path / "music", [1.0, 1.0], rate=SAMPLING_RATE)
    table = "file_name,Performer,style\nsong_0.wav,X,rock\nsong_1.wav,Y,jazz\n"
    (folder / "metadata.csv").write_text(table, encoding="utf-8")
    options = {
        "encode": ["encode", "--model", tiny_model],
        "embed": ["embed", "--model", tiny_model, "--dry-run"],
        "train": ["train", "vqvae", "--preset", "toy_vqvae", "--dry-run"],
    }[command]
    arguments = [*options, "--dataset", folder, "-o", tmp_path / "output"]
    result = CliRunner().invoke(main, list(map(str, arguments)), prog_name="jukebox")
    assert result.exit_code == 0, result.output
    said = "metadata.csv: artist is column 'Performer', genre is column 'style'\n"
    assert result.stderr.count(said) == 1, result.stderr
    if command != "embed":  # which takes files one by one
        assert "2 songs; 2 artists; 2 genres" in result.stderr
