"""Lyrics in every form that people have: times are found in the content, and never sung."""

import gc
import json
import logging
import random
import re
import time
from pathlib import Path

import pytest

from jukebox_hf.labels import (
    LYRIC_CHARACTERS,
    JukeboxProcessor,
    LyricAlphabet,
    TimedLyrics,
    TimedSegment,
    decode_lyrics,
    find_lyrics,
    parse_lrc,
    read_lyrics,
    timed_segments,
)

V3 = LyricAlphabet(LYRIC_CHARACTERS["v3"])
STAMP = re.compile(r"\d\d?:\d\d")


def timed(text: str) -> list[tuple[float, str]]:
    """The words of a text and when they are sung."""
    found = find_lyrics(text).lyrics
    assert isinstance(found, TimedLyrics), found
    return [(round(s, 3), words.strip()) for s, words in found.segments if words.strip()]


def test_lines_carry_their_times() -> None:
    lyrics = parse_lrc("[ar: Someone]\n[ti:A: B]\n\n[00:01.50]one\n[1:02]two\n# a remark\n")
    assert lyrics.text == "one\ntwo"
    assert lyrics.segments == (TimedSegment(1.5, "one\n"), TimedSegment(62.0, "two"))
    assert lyrics.tags == (("ar", "Someone"), ("ti", "A: B"))


def test_a_line_with_several_stamps_is_sung_several_times() -> None:
    lyrics = parse_lrc("[00:10.00][00:30.00] la la\n[00:20.00]verse")
    assert lyrics.text == "la la\nverse\nla la"
    assert [segment.start_seconds for segment in lyrics.segments] == [10.0, 20.0, 30.0]


def test_words_may_have_times_of_their_own() -> None:
    lyrics = parse_lrc(
        "[00:10.00]<00:10.00> Some <00:10.50>  words <00:11.00>syl<00:11.20>lables <00:12.00>\n"
        "[00:20.00] next"
    )
    assert lyrics.text == "Some words syllables\nnext"
    times = {s.text: s.start_seconds for s in lyrics.segments if s.text.strip()}
    assert times == {"Some ": 10.0, "words ": 10.5, "syl": 11.0, "lables": 11.2, "next": 20.0}
    cleaned, seconds = lyrics.clean(V3)
    assert seconds[cleaned.index("\n")] == 12.0  # the last stamp of a line ends its words


def test_repeated_lines_repeat_the_times_of_their_words() -> None:
    lyrics = parse_lrc("[00:10][00:40]<00:10>a <00:12>b")
    assert [s.start_seconds for s in lyrics.segments if s.text] == [10.0, 12.0, 40.0, 42.0]


def test_words_timed_past_the_next_line_end_there() -> None:
    lyrics = parse_lrc("[00:10]<00:10>a <00:16>b\n[00:15]c")
    assert [s.start_seconds for s in lyrics.segments if s.text] == [10.0, 15.0, 15.0]
    lyrics = parse_lrc("[00:10]<00:10>a <00:16>b\n[00:15]")
    assert lyrics.segments[-1].start_seconds == lyrics.end_seconds == 15.0


def test_a_stamp_without_words_ends_the_line_before() -> None:
    lyrics = parse_lrc("[00:05]\n[00:10]ab\n[00:12]\n[00:20]cd\n[00:22]")
    assert lyrics.text == "ab\n\ncd"
    assert lyrics.end_seconds == 22.0
    _, seconds = lyrics.clean(V3)
    assert seconds == pytest.approx((10, 10 + 2 / 3, 10 + 4 / 3, 12, 20, 21))


def test_the_offset_tag_moves_everything() -> None:
    assert parse_lrc("[offset:+500]\n[00:01]a").segments[0].start_seconds == 0.5
    assert parse_lrc("[offset: -500]\n[00:01]a").segments[0].start_seconds == 1.5
    assert parse_lrc("[00:01]a\n[offset:5000]").segments[0].start_seconds == 0.0


def test_windows_files_and_byte_order_marks_are_read() -> None:
    assert parse_lrc("\ufeff[00:01]a\r\n[00:02]b\r[00:03]c").text == "a\nb\nc"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plain words", r"line 1: expected \[mm:ss.xx\] before the words, got 'plain w"),
        ("[ar:x]\n[00:1x]a", "line 2: expected .mm:ss.xx. before the words"),
        ("[Verse]", "line 1: expected .mm:ss.xx. before the words"),
        ("", "got no timed words at all"),
        ("[ar:x]\n[00:01]\n", "got no timed words at all"),
    ],
)
def test_what_has_no_timed_words_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_lrc(text)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("[00:01]a\nplain words", "line 2: left out, since it has no time: 'plain words'"),
        ("[Chorus]\n[00:01]a", r"line 1: left out, since it has no time: '\[Chorus\]'"),
        ("[00:01]a\n[-1:00]c", r"line 2: left out, since it has no time: '\[-1:00\]c'"),
        ("[00:01]a <00:2x>", "line 1: left out, since it is no time: '<00:2x>'"),
        ("[00:05]a <00:01>b", "line 1: times go backwards inside the line, 1.00 s after 5.00 s"),
        (
            "[offset:soon]\n[00:01]a",
            "line 1: .offset:\\.\\.\\.. takes milliseconds; left out, since",
        ),
        (
            "1\n00:00:0x,000 --> 00:00:02,000\nlost\n\n2\n00:00:03,000 --> 00:00:04,000\nkept",
            "line 2: left out, since these are no times: '00:00:0x,000 .* lost'",
        ),
    ],
)
def test_an_odd_line_costs_that_line_and_a_note_says_which(text: str, note: str) -> None:
    found = find_lyrics(text)
    assert len(found.notes) == 1
    assert re.match(note, found.notes[0]), found.notes
    assert isinstance(found.lyrics, TimedLyrics)
    assert found.lyrics.notes == found.notes
    assert found.lyrics.text in ("a", "ab", "a b", "kept")


def test_many_odd_lines_are_counted() -> None:
    text = "".join(f"[00:{second:02d}]a\nodd\n" for second in range(30))
    notes = find_lyrics(text).notes
    assert len(notes) == 6
    assert notes[-1] == "and 25 more lines like these"


@pytest.mark.parametrize(
    "brackets",
    ["[]", "()", "<>", "{}", "\uff3b\uff3d", "\u3010\u3011", "\u300c\u300d", "\u00ab\u00bb"],
)
@pytest.mark.parametrize(
    "stamp", ["0:{:02d}", "00:{:02d}.00", "00:{:02d}:00", "00\uff1a{:02d},000"]
)
def test_times_stand_in_any_bracket(brackets: str, stamp: str) -> None:
    lines = (f"{brackets[0]}{stamp.format(s)}{brackets[1]} word {s}" for s in (12, 14, 20))
    assert timed("\n".join(lines)) == [(12, "word 12"), (14, "word 14"), (20, "word 20")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[00:12.00]Hello [00:12.50]big [00:13.00]world",
            [(12, "Hello"), (12.5, "big"), (13, "world")],
        ),
        ("[00:12][00:12]Hello [00:13]you", [(12, "Hello"), (13, "you")]),
        ("[00:12.35]<00:12.345>Hello <00:12.900>world", [(12.35, "Hello"), (12.9, "world")]),
        ("[00:10:50]first\n[00:20:75]second", [(10.5, "first"), (20.75, "second")]),
        ("[00:10:500]first", [(10.5, "first")]),
        ("[00.10.50]first\n[00.20.75]second", [(10.5, "first"), (20.75, "second")]),
        ("[01:02:03.5]late", [(3723.5, "late")]),
        ("[00:12.5 forgotten\n[00:14] kept", [(12.5, "forgotten"), (14, "kept")]),
        ("words [00:12]\nbefore [00:14]", [(12, "words"), (14, "before")]),
        ("0:12 Hello\n0:15 - world", [(12, "Hello"), (15, "world")]),
        ("0:12\nhello\n0:15\nworld", [(12, "hello"), (15, "world")]),
        ("in\n[0:12] Verse\na\nb\n[0:30]\nc", [(0, "in"), (12, "Verse\na\nb"), (30, "c")]),
        ("[00:00.5 --> 00:03.0]  Hello\n[00:03.0 --> 00:05.5] you", [(0.5, "Hello"), (3, "you")]),
        (
            "0:00:00.500,0:00:03.000\ngreen\n\n0:00:03.000,0:00:05.000\nboats",
            [(0.5, "green"), (3, "boats")],
        ),
        ("0.5\t3.0\tgreen\n3.0\t5.0\tboats", [(0.5, "green"), (3, "boats")]),
        (
            "[Events]\nDialogue: 0,0:00:01.00,0:00:02.50,Def,,0,0,0,,{\\an8}Hi, you\\Nall",
            [(1, "Hi, you\nall")],
        ),
    ],
)
def test_other_dialects_of_time_are_read(text: str, expected: list[tuple[float, str]]) -> None:
    assert timed(text) == expected


KARAOKE = [
    pytest.param(
        "[ti:x]\n[12000,2000]<0,500,0>one <500,1500,0>big\n[14000,1000]<0,1000,0>two",
        id="KuGou",
    ),
    pytest.param(
        "[12000,2000]one (12000,500)big(12500,1500)\n[14000,1000]two(14000,1000)", id="QQ Music"
    ),
    pytest.param(
        "[12000,2000](12000,500,0)one (12500,1500,0)big\n[14000,1000](14000,1000,0)two",
        id="NetEase",
    ),
    pytest.param(
        '<?xml version="1.0"?><tt xmlns="http://www.w3.org/ns/ttml"><head><metadata>'
        "<ttm:title>x</ttm:title></metadata></head><body><div>"
        '<p begin="00:00:12.000" end="14s"><span begin="12.0" end="12.5">one</span> '
        '<span begin="12500ms" end="14.0">big</span></p>\n'
        '<p begin="0:14.0" end="15">two<br/></p></div></body></tt>',
        id="Timed Text",
    ),
    pytest.param(
        "#TITLE:x\n#BPM:300\n#GAP:12000\n: 0 5 60 one\n* 10 30 62  big\n- 40\n: 40 20 60 two\nE",
        id="UltraStar",
    ),
]


@pytest.mark.parametrize("text", KARAOKE)
def test_karaoke_files_and_timed_text_are_read(text: str) -> None:
    assert timed(text) == [(12, "one"), (12.5, "big"), (14, "two")]
    found = find_lyrics(text).lyrics
    assert isinstance(found, TimedLyrics)
    assert found.text == "one big\ntwo"
    assert found.end_seconds == 15
    assert found.notes == ()


@pytest.mark.parametrize(
    "text",
    [
        "[12.00]one\n[14.25]two",
        "(12.0) one\n(14.25) two",
        "12.0,13.5,one\n14.25,15.0,two",
        '12.0; 13.5; "one"\n14.25; 15.0; "two"',
    ],
)
def test_seconds_are_times_too(text: str) -> None:
    assert timed(text) == [(12, "one"), (14.25, "two")]


def test_frames_of_a_film_are_neither_times_nor_words() -> None:
    found = find_lyrics("{300}{340}one|big\n{350}{375}two")
    assert found.lyrics == "one\nbig\ntwo"
    assert found.notes == ("its times are in frames of a film and are not used",)


def test_numbers_in_brackets_without_a_point_are_words() -> None:
    for text in ("[1] one\n[2] two", "(2) times\n(3) times", "1, 2, buckle\n3, 4, shoe"):
        assert find_lyrics(text) == (text, ())


def test_an_odd_line_of_a_karaoke_file_keeps_its_number() -> None:
    found = find_lyrics("[12000,2000]<0,500,0>one\nodd\n[14000,1000]<0,1000,0>two")
    assert found.notes == ("line 2: left out, since it has no time: 'odd'",)


def test_numbers_with_colons_are_hours_where_nobody_could_sing_so_fast() -> None:
    lines = [
        f"[00:{second // 60:02d}:{second % 60:02d}]line {second}" for second in range(0, 300, 7)
    ]
    assert timed("\n".join(lines))[-1] == (294, "line 294")


def test_subtitles_are_read_without_their_numbers_and_markup() -> None:
    srt = (
        "1\n00:00:00,500 --> 00:00:03,000\n<i>green</i> boats\ngo\n\n"
        "2\n00:00:04,000 --> 00:00:05,000\nhome\n"
    )
    assert timed(srt) == [(0.5, "green boats\ngo"), (4, "home")]
    found = find_lyrics(srt).lyrics
    assert isinstance(found, TimedLyrics)
    assert found.end_seconds == 5
    assert TimedSegment(3.0, "\n") in found.segments  # nothing is sung in between
    vtt = (
        "WEBVTT\nKind: captions\n\nNOTE by me\n\nfirst\n00:00.500 --> 00:03.000 align:start\n"
        "<v Bob>green <00:00:01.000><c>boats</c> &amp; go\n\n00:05.000 --> 00:06.000\nhome\n"
    )
    assert timed(vtt) == [(0.5, "green"), (1, "boats & go"), (5, "home")]


def test_json_of_recognisers_is_read() -> None:
    rows = [{"start": 0.5, "end": 1, "text": " Hello"}, {"start": 2, "end": 3, "text": " you"}]
    for content in (rows, {"segments": rows}):
        assert timed(json.dumps(content)) == [(0.5, "Hello"), (2, "you")]
    assert find_lyrics('["no", "times"]').lyrics == '["no", "times"]'


@pytest.mark.parametrize(
    "text",
    [
        "12:51 is the time my voice\nfound the words I sought",
        "[Chorus: all]\nla la",
        "[Verse 1]\nla la\n(ooh)\n[Chorus]\nho",
        "one\r\ntwo\u2028three",
        "1. one\n2. two",
        "",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert find_lyrics(text) == (text, ())


def test_times_here_and_there_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    text = "la la (0:45)\nand more words\nand a third line [0:10]\n and on"
    found = find_lyrics(text)
    assert found.lyrics == "la la\nand more words\nand a third line\n and on"
    assert found.notes == ("times that do not order the lines are not sung: (0:45), [0:10]",)
    with caplog.at_level(logging.WARNING):
        assert decode_lyrics(text.encode(), source="mine") == found.lyrics
    assert "mine: times that do not order the lines" in caplog.text


def test_times_are_not_sung_wherever_lyrics_come_from(tmp_path: Path) -> None:
    processor = JukeboxProcessor(lyric_characters=LYRIC_CHARACTERS["v3"], lyric_length=8)
    text = "[Verse]\n[00:12.00]one\n[00:14.00]two"
    resolved = processor.resolve(lyrics=text)
    assert resolved.lyric_text == "one\ntwo"
    assert resolved.lyric_seconds is not None
    assert resolved.lyric_seconds[0] == 12
    assert resolved.notes == ("lyrics: line 1: left out, since it has no time: '[Verse]'",)
    for name in ("a.txt", "b.lrc", "c", "d.LRC"):
        (tmp_path / name).write_text(text, encoding="utf-16" if name == "c" else "utf-8")
        found = read_lyrics(tmp_path / name)
        assert isinstance(found, TimedLyrics)
        assert found.text == "one\ntwo"
    (note,) = processor.resolve(lyrics="song.txt").notes
    assert "looks like the name of a file" in note


def test_words_that_bring_their_blanks_get_no_second_one() -> None:
    def words(*texts: str) -> str:
        return timed_segments({"start": i, "word": text} for i, text in enumerate(texts)).text

    assert words("a", "b") == "a b "
    assert words("a ", "b ", "c") == "a b c"
    assert words(" Hel", "lo", " you", " all") == " Hello you all"
    assert words("a", " b", "c") == "a b c "
    lines = timed_segments([{"start": 1, "line": "a\n"}, {"start": 2, "line": "b"}])
    assert lines.text == "a\nb\n"
    with pytest.raises(ValueError, match="lyric times must be seconds, got 'soon'"):
        timed_segments([{"start": "soon", "word": "a"}])


@pytest.mark.parametrize(
    "repeated",
    [
        "[00:00",
        "(",
        "<0",
        "\t ",
        "1:",
        "[0:1] \t",
        "[0:1]\n",
        "-->",
        "00:01 --> ",
        "[a:",
        "[ar:x]\n",
        "{\\",
        "[0:1",
        "[1,2]<3,4,5>",
        "[1,2]a(3,4)\n",
        "#BPM:9\n: 1 2 3 a\n: 4 5 6 b\n",
        "<tt><body><p begin='1'>",
        "<tt begin=<body <p <p ",
        "{1}{2}",
        "[00:00]|<00:01.25>w ",
        "la|\n",
        "la|\n ",
        "la\n[0:1]a\n[0:2]|b" + 100 * "b" + "\n",
        "#BPM:9\n: 1 2 3 la\n|: 4 5 6 b" + 100 * "b" + "\n",
        "[0:1|\t",
        "00:01:01,000 --> 00:02:01,000\n|a" + 100 * "a" + "\n",
        "Dialogue: 0,0:00:01.00,0:00:02.50,Def,,0,0,0,,|a\\N",
    ],
)
def test_eight_times_the_text_takes_eight_times_as_long(repeated: str) -> None:
    """What stands before a bar begins the text; what grows with the square takes 64 times as long.

    The two are measured side by side, so a slow machine is slow for both, and a moment in which one
    of them was disturbed is measured again.
    """
    begins, _, grows = repeated.rpartition("|")

    def seconds(times: int) -> float:
        text = begins + grows * times
        start = time.process_time()
        find_lyrics(text)
        return time.process_time() - start

    gc.disable()  # collections take as long as the other tests left things behind
    try:
        ratios = [seconds(16_000) / max(seconds(2_000), 1e-4)]
        while min(ratios) > 24 and len(ratios) < 5:
            ratios.append(seconds(16_000) / max(seconds(2_000), 1e-4))
    finally:
        gc.enable()
    assert min(ratios) <= 24, ratios


def test_whatever_is_done_to_a_text_no_time_is_sung() -> None:
    rng = random.Random(0)
    sources = [
        "[00:12.00]Hello [00:12.50]big\n[00:14.00]two\n[00:15]three",
        "1\n00:00:00,500 --> 00:00:03,000\ngreen\n\n2\n00:00:03,000 --> 00:00:05,000\nhome\n",
        "(0:12) one\n(0:15) two\n(0:20) three",
    ]
    for _ in range(600):
        lines = rng.choice(sources).split("\n")
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(lines))
            match rng.randrange(4):
                case 0:
                    lines.insert(
                        place, rng.choice(["", "odd words", "[Verse]", "# note", "[ti:x]"])
                    )
                case 1 if len(lines) > 4:
                    del lines[place]
                case 2:
                    lines[place] = f" {lines[place]}\t"
                case _:
                    lines.insert(place, lines[rng.randrange(len(lines))])
        found = find_lyrics("\n".join(lines)).lyrics
        words = found.text if isinstance(found, TimedLyrics) else found
        assert not STAMP.search(words), lines


def test_lyrics_files_may_be_utf_8_or_utf_16(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r")
    (tmp_path / "a.LRC").write_bytes("[00:01]eins\r\n[00:02]zwei".encode("utf-16"))
    assert read_lyrics(tmp_path / "a.txt") == "one\ntwo\n"
    timed = read_lyrics(tmp_path / "a.LRC")
    assert isinstance(timed, TimedLyrics)
    assert timed.text == "eins\nzwei"


def test_errors_in_lyrics_files_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.lrc").write_text("words")
    (tmp_path / "b.txt").write_bytes("Café".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.lrc: line 1: expected"):
        read_lyrics(tmp_path / "a.lrc")
    with pytest.raises(
        ValueError, match=r"b\.txt: expected text in UTF-8, got byte 0xe9 at place 3"
    ):
        read_lyrics(tmp_path / "b.txt")
    with pytest.raises(FileNotFoundError):
        read_lyrics(tmp_path / "none.txt")
    with pytest.raises(OSError, match="is a folder; expected a file of lyrics"):
        read_lyrics(tmp_path)
    (tmp_path / "long.txt").write_bytes(b"la " * 2_000_000)
    with pytest.raises(ValueError, match=r"long\.txt is larger than 4,194,304 bytes"):
        read_lyrics(tmp_path / "long.txt")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_devices_without_end_are_refused() -> None:
    with pytest.raises(OSError, match="/dev/zero is a device or a pipe; expected a file of lyrics"):
        read_lyrics("/dev/zero")


def test_bytes_from_elsewhere_are_lyrics_too() -> None:
    assert decode_lyrics(b"\x00la\n") == "\x00la\n"
    with pytest.raises(ValueError, match="standard input: "):
        decode_lyrics(b"\xff", source="standard input")
