"""Stories of the studio's page, played in a browser.

Sound is measured where it comes out, codes are compared with those of the command line.
"""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import jukebox_cli.studio
from jukebox_cli.main import main
from jukebox_hf.generation.session import Session
from tests.cli.studio.browser import RunningBrowser, Visit, launch, violations
from tests.cli.studio.conftest import REQUEST, Start, generate
from tests.cli.studio.long_piece import LONG_RATE, LONG_SECONDS, make_long_piece
from tests.cli.studio.studio_process import StudioProcess, checksums

pytestmark = pytest.mark.browser

PAGE = Path(jukebox_cli.studio.__file__).parent / "page"
WORDS = "sing to me under the moon"


@pytest.fixture(scope="module")
def browser() -> Iterator[RunningBrowser]:
    yield from launch()


Open = Callable[..., Visit]


@pytest.fixture
def visit(browser: RunningBrowser) -> Iterator[Open]:
    """Opens a page; in the end nothing may have gone wrong in any of them, nor with its studio."""
    opened: list[Visit] = []
    studios: list[StudioProcess] = []

    def begin(studio: StudioProcess, fragment: str = "", **options: Any) -> Visit:
        studios.append(studio)
        opened.append(Visit(browser, studio.address + fragment, **options))
        return opened[-1]

    with browser.watched(lambda: next(filter(None, (one.trouble() for one in studios)), None)):
        yield begin
        for one in opened:
            one.close()
    assert [error for one in opened for error in one.errors if not is_expected(error)] == []


def is_expected(error: str) -> bool:
    """What a browser says by itself about answers that a story asks for."""
    return "Failed to load resource" in error or "willReadFrequently" in error


@pytest.fixture(scope="module")
def library(calm: StudioProcess, lyric_model: Path) -> StudioProcess:
    """The calm studio with a finished piece `tune`, two takes and words, and a sketch."""
    common = ("--genre", "rock", "--seconds", "1", "--takes", "2", "--seed", "7")
    words = calm.folder.parent / "words.txt"
    words.write_text(WORDS, encoding="utf-8")
    generate(lyric_model, calm.folder / "tune", *common, "--lyrics", str(words))
    generate(lyric_model, calm.folder / "sketch", *common, "--to-level", "2")
    return calm


def test_the_page_opens_with_no_network_and_names_everything(
    library: StudioProcess, visit: Open
) -> None:
    seen = visit(library)
    seen.button("New piece").wait_for()
    assert len(seen.requests) <= len(list(PAGE.iterdir())) + 3  # each file once, and the state
    seen.heading("Make music by choosing").wait_for()
    seen.button("tune").click()
    seen.heading("tune").wait_for()
    for role, name in [
        ("navigation", "Pieces and queue"),
        ("button", "Play"),
        ("button", "Take 2"),
        ("checkbox", "Repeat"),
        ("slider", "Position in take 1"),
        ("slider", "Where to go on in take 1"),
        ("group", "Picture"),
        ("button", "Continue take 1 from the end"),
        ("button", "Export"),
        ("searchbox", "Find a piece"),
    ]:
        seen.page.get_by_role(role, name=name).first.wait_for()
    seen.wait_until("studio.player.duration > 0.9")
    assert {address.split("/")[2] for address in seen.requests} == {f"127.0.0.1:{library.port}"}
    assert seen.errors == []


def test_first_music_sounds_before_it_is_done(visit: Open, tmp_path: Path) -> None:
    """With the model that comes with the package, as a newcomer meets it."""
    folder = tmp_path / "pieces"
    folder.mkdir()
    studio = StudioProcess(folder)
    try:
        seen = visit(studio)
        seen.button("New piece").click()
        seen.page.get_by_label("Genre", exact=True).fill("rock")
        seen.page.get_by_label("Length in seconds").fill("4")
        seen.button("Make", exact=True).click()
        seen.heading("song-1").wait_for()
        seen.wait_until("studio.player.rms() > 0.001", every=30)
        piece = seen.evaluate("studio.state.piece")
        assert (piece["state"], piece["genre"]) == ("making", "rock")
        assert piece["seconds"] == pytest.approx(4, abs=0.1)
        seen.close()
    finally:
        studio.stop()


def test_a_click_before_the_server_has_answered_is_not_lost(
    library: StudioProcess, visit: Open
) -> None:
    seen = visit(library)
    held: list[Any] = []
    seen.page.route("**/api/state*", lambda route: held.append(route))
    seen.page.reload()
    while not held:
        seen.page.wait_for_timeout(20)
    seen.button("New piece").first.click()
    assert not seen.evaluate("studio.state")
    for request in held:
        request.continue_()
    seen.page.unroute("**/api/state*")
    seen.page.locator("#f-genre").wait_for(state="attached")


def test_it_keeps_playing_while_it_grows(library: StudioProcess, visit: Open) -> None:
    seen = visit(library)
    name = seen.make(genre="rock", seconds="12")
    seen.wait_until("studio.player.duration > 11")  # the sketch of all of it
    begin = "[...studio.player.buffer.getChannelData(0).slice(0, 4000)].map(Math.abs)"
    sketch = seen.evaluate(begin)
    watch(seen)
    swaps = seen.evaluate("studio.player.swaps")
    seen.wait_until(f"studio.player.swaps >= {swaps} + 3")
    found = seen.evaluate("watched")
    assert found["blocks"] > 20
    assert found["silent"] == 0
    assert found["jumps"] == 0
    assert seen.evaluate(begin) != sketch  # it is the finer sound that is heard now
    library.stop_piece(name)


def watch(seen: Visit) -> None:
    """From here on, note whether the sound stops, or jumps back or on, while it plays."""
    seen.evaluate(
        """() => {
          const { player } = studio;
          player.seek(0);
          const found = (globalThis.watched = { jumps: 0, silent: 0, blocks: 0 });
          player.repeat = true;
          if (!player.playing) player.play();
          let last = player.now();
          let then = player.context.currentTime;
          setInterval(() => {
            const at = player.now();
            const expected = last + player.context.currentTime - then;
            const again = expected > player.duration - 0.1; // it begins again
            [last, then] = [at, player.context.currentTime];
            if (again) return;
            if (Math.abs(at - expected) > 0.1) found.jumps += 1;
            if (at < 0.1) return; // it fades in
            found.blocks += 1;
            if (!player.sounding || player.rms() === 0) found.silent += 1;
          }, 20);
        }"""
    )


def test_a_reload_in_the_middle_finds_everything_again(library: StudioProcess, visit: Open) -> None:
    seen = visit(library)
    name = seen.make(seconds="3")
    seen.wait_until("[1, 0].includes(studio.state.queue[0]?.level) && studio.state.piece.share > 0")
    before = seen.evaluate("studio.state.piece.share")
    seen.page.reload()
    seen.heading(name).wait_for()
    seen.wait_until("studio.state?.piece?.state === 'making'")
    assert seen.evaluate("studio.state.piece.share") >= before
    assert 0 < seen.evaluate("document.querySelector('#piece-status progress').value") < 1
    seen.wait_until(f"studio.state.piece.share > {before}")  # it is followed from here on
    library.stop_piece(name)


def test_open_pages_outlive_killed_server_and_worker_with_what_is_typed(
    start: Start, visit: Open, requested: dict[int, dict[str, Any]]
) -> None:
    studio = start()
    typing, seen = visit(studio), visit(studio)
    typing.fill_new(lyrics=WORDS)
    assert seen.make(**REQUEST) == "song-1"
    studio.wait_until_within("song-1")
    seen.button("More takes").wait_for()  # the page has seen it, too: it asks once a second
    typing.context.set_offline(True)
    typing.page.locator("#make").dispatch_event("click")  # before the page knows
    studio.kill()
    typing.context.set_offline(False)
    for one, button in ((seen, "More takes"), (typing, "Make")):
        one.page.get_by_text("The studio does not answer").wait_for()
        assert one.button(button, exact=True).is_disabled()
    typing.page.get_by_label("Genre", exact=True).fill("jazz")
    typing.wait_until("document.getElementById('plan').textContent === ''")  # nobody knows it
    again = start(port=studio.port)
    for one in (seen, typing):
        one.page.get_by_text("The studio does not answer").wait_for(state="hidden")
    typing.page.get_by_text("of music.").wait_for()  # the plan is asked for again
    assert typing.page.get_by_label("Genre", exact=True).input_value() == "jazz"
    assert typing.page.locator("#f-lyrics").input_value() == WORDS
    seen.wait_for("done")
    assert seen.button("More takes").is_enabled()
    assert checksums(again.folder / "song-1") == requested
    typing.button("Make", exact=True).click()
    typing.heading("song-2").wait_for()


def test_stop_and_go_on(
    library: StudioProcess, visit: Open, requested: dict[int, dict[str, Any]]
) -> None:
    seen = visit(library)
    name = seen.make(**REQUEST)
    library.wait_until_within(name)
    seen.page.locator("#stop").click()
    seen.wait_for("stopped")
    seen.page.get_by_text("Nothing is lost").wait_for()
    seen.button("Go on", exact=True).click()
    seen.wait_for("done")
    assert checksums(library.folder / name) == requested


def test_keeping_and_finishing_with_the_keyboard_alone(
    library: StudioProcess, visit: Open, lyric_model: Path, tmp_path: Path
) -> None:
    seen = visit(library, "#sketch")
    seen.heading("sketch").wait_for()
    seen.page.locator("#keep-2").wait_for()
    press = seen.page.keyboard.press
    press("2")
    press("k")
    seen.wait_until("studio.state.piece.takes[1].kept")
    assert seen.button("Take 2").get_attribute("aria-pressed") == "true"
    press("u")
    seen.heading("Finish sketch").wait_for()
    press("Tab")  # to the settings, and on to the button
    while seen.evaluate("document.activeElement.id") != "make":
        press("Tab")
    press("Enter")
    seen.wait_until("studio.view.name && studio.view.name.startsWith('song-')")
    seen.wait_for("done")
    name = seen.evaluate("studio.view.name")
    command = ["upsample", str(library.folder / "sketch"), "--takes", "2", "-q"]
    result = CliRunner().invoke(main, [*command, "-o", str(tmp_path / "cli")])
    assert result.exit_code == 0, result.output
    assert checksums(library.folder / name) == checksums(tmp_path / "cli")
    assert seen.evaluate("studio.state.piece.parent") == "sketch"


def test_continuing_from_a_dragged_point(library: StudioProcess, visit: Open) -> None:
    seen = visit(library, "#tune")
    seen.heading("tune").wait_for()
    point = seen.page.get_by_role("slider", name="Where to go on in take 1")
    point.wait_for()
    area = seen.page.locator(".wave").first.bounding_box()
    knob = point.bounding_box()
    mouse = seen.page.mouse
    mouse.move(knob["x"] + knob["width"] / 2, knob["y"] + 40)
    mouse.down()
    mouse.move(area["x"] + area["width"] * 0.5, knob["y"] + 40, steps=5)
    mouse.up()
    at = float(point.get_attribute("aria-valuenow"))
    assert at == pytest.approx(0.5, abs=0.07)
    seen.button("Continue take 1 from 0:00.").click()
    seen.page.get_by_label("New music, in seconds").fill("0.3")
    seen.button("Make", exact=True).click()
    seen.wait_until("studio.view.name && studio.view.name !== 'tune'")
    seen.wait_for("done")
    name = seen.evaluate("studio.view.name")
    seen.page.locator(f"#piece-tune + ul #piece-{name}").wait_for()
    before = Session.open(library.folder / "tune").codes(1)
    after = Session.open(library.folder / name).codes(1)
    assert before is not None
    assert after is not None
    cut = Session.open(library.folder / name).take(1).existing
    cut_seconds = cut[0] * 8 / 8000
    assert cut_seconds == pytest.approx(at, abs=0.07)
    for level in range(3):
        count = cut[level]
        assert before.levels[level][0, :count].tolist() == after.levels[level][0, :count].tolist()
    seen.page.keyboard.press("m")  # another try of the same
    seen.heading("Go on from tune").wait_for()
    where = f"0:00.{int(10 * cut_seconds)}"
    seen.page.get_by_text(f"New music after take 1, from {where}").wait_for()


def drag(seen: Visit, take: int, begin: float, end: float) -> None:
    """With the mouse, over a share of a take's picture."""
    picture = seen.page.locator(".take .wave .wave").nth(take - 1)
    picture.scroll_into_view_if_needed()
    area = picture.bounding_box()
    mouse, height = seen.page.mouse, area["y"] + area["height"] / 2
    mouse.move(area["x"] + begin * area["width"], height)
    mouse.down()
    mouse.move(area["x"] + end * area["width"], height, steps=4)
    mouse.up()


def test_a_stretch_is_made_again_and_what_is_around_it_stays(
    library: StudioProcess, visit: Open
) -> None:
    seen = visit(library, "#tune")
    seen.heading("tune").wait_for()
    seen.wait_until("studio.player.duration > 0.9")
    drag(seen, take=2, begin=0.3, end=0.6)
    assert seen.evaluate("studio.view.chosen") == 2
    assert seen.evaluate("studio.view.stretch()") == pytest.approx([0.3, 0.6], abs=0.01)
    seen.page.get_by_text("The stretch from 0:00.").wait_for()
    seen.page.keyboard.press("h")  # it is heard, and no more than it
    seen.wait_until("studio.player.sounding", every=10)
    seen.wait_until("!studio.player.playing", every=10)
    assert 0.55 < seen.evaluate("studio.player.now()") < 0.9
    seen.page.keyboard.press("r")
    seen.heading("Make a stretch of tune again").wait_for()
    assert float(seen.page.get_by_label("To", exact=True).input_value()[2:]) == pytest.approx(
        0.6, abs=0.01
    )
    fields = {"From": "0.4", "To": "2", "Ways to try": "2"}
    for label, text in fields.items():
        seen.page.get_by_label(label, exact=True).fill(text)
    seen.button("Make it again").click()
    seen.page.get_by_text("the stretch ends at 2 s, but take 2 lasts").wait_for()
    seen.page.get_by_label("To", exact=True).fill("0.56")
    seen.button("Make it again").click()
    seen.wait_until("studio.view.name && studio.view.name !== 'tune'")
    seen.wait_for("done")
    name = seen.evaluate("studio.view.name")
    seen.page.locator(f"#piece-tune + ul #piece-{name}").wait_for()
    seen.page.get_by_text("mends").wait_for()
    before = Session.open(library.folder / "tune").codes(2)
    after = Session.open(library.folder / name).codes(1)
    assert before is not None
    assert after is not None
    record = Session.open(library.folder / name).record
    assert record.hole is not None
    assert record.hole.candidates == 2
    for level, hop in enumerate((8, 32, 128)):
        old, new = before.levels[level][0], after.levels[level][0]
        first, end = 25 * 128 // hop, 35 * 128 // hop
        assert new[:first].tolist() == old[:first].tolist()
        assert new[end:].tolist() == old[end:].tolist()
        assert new[first:end].tolist() != old[first:end].tolist()
    seen.page.keyboard.press("m")  # another try of the same
    seen.heading("Make a stretch of tune again").wait_for()
    assert seen.page.get_by_label("From", exact=True).input_value() == "0:00.400"
    assert seen.page.get_by_label("To", exact=True).input_value() == "0:00.560"


def test_a_stretch_is_cut_out_and_the_way_back_is_a_click(
    library: StudioProcess, visit: Open
) -> None:
    seen = visit(library, "#tune")
    seen.heading("tune").wait_for()
    seen.wait_until("studio.player.duration > 0.9")
    press = seen.page.keyboard.press
    for at, key in ((0.2, "["), (0.6, "]")):  # with the keys, from where one listens
        seen.evaluate(f"studio.player.seek({at})")
        press(key)
    for name in ("Begin", "End"):
        seen.page.get_by_role("slider", name=f"{name} of the stretch in take 1").focus()
        press("ArrowRight")
    press("x")
    seen.heading("Edit tune").wait_for()
    assert seen.page.locator("#f-stretch-from").input_value() == "0:00.300"
    assert seen.page.locator("#f-stretch-to").input_value() == "0:00.700"
    assert parts_of(seen) == [("tune", "1", "", "0:00.300"), ("tune", "1", "0:00.700", "")]
    seen.page.get_by_text("0:00.6 of music from 2 parts").wait_for()
    seen.button("Put together").click()
    seen.wait_until("studio.view.name && studio.view.name !== 'tune'")
    seen.wait_for("done")
    seen.wait_until("studio.player.duration > 0.5 && studio.player.duration < 0.7")
    record = Session.open(library.folder / seen.evaluate("studio.view.name")).record
    assert record.parent is not None
    assert record.parent.action == "edit"
    assert [round(part["end_seconds"], 1) for part in record.parent.details["parts"]] == [0.3, 1.0]
    seen.page.locator("#to-parent").click()
    seen.heading("tune").wait_for()


def parts_of(seen: Visit) -> list[tuple[str, ...]]:
    """What the form for editing lists: piece, take and bounds of each part."""
    fields = ("piece", "take", "from", "to")
    return [
        tuple(seen.page.locator(f"#f-{field}-{index}").input_value() for field in fields)
        for index in range(seen.page.locator("#parts > li").count())
    ]


def test_parts_are_moved_repeated_and_merged_as_on_the_command_line(
    library: StudioProcess, visit: Open, tmp_path: Path
) -> None:
    """A draft outlives the form and a reload; what is added on the way is seen and heard there."""
    seen = visit(library, "#tune")
    page, press = seen.page, seen.page.keyboard.press
    seen.wait_until("studio.player.duration > 0.9")
    drag(seen, take=2, begin=0.4, end=0.6)
    seen.evaluate("studio.view.setStretch(0.4, 0.6)")
    press("v")
    seen.heading("Edit tune").wait_for()
    page.get_by_label("Where it goes").fill("0.2")
    own = ("tune", "2", "0:00.400", "0:00.600")
    before, between, after = (
        ("tune", "2", *bounds)
        for bounds in (("", "0:00.200"), ("0:00.200", "0:00.400"), ("0:00.600", ""))
    )
    assert parts_of(seen) == [before, own, between, after]
    page.get_by_label("What becomes of it").select_option("Repeat it")
    page.get_by_label("How often it is there").fill("3")
    assert parts_of(seen) == [("tune", "2", "", "0:00.400"), own, own, own, after]
    page.get_by_label("What becomes of it").select_option("Move it")

    seen.button("sketch").click()  # another piece, to take something of it
    seen.heading("sketch").wait_for()
    page.reload()
    page.get_by_text("You began to edit tune; so far it has 4 parts").wait_for()
    seen.wait_until("studio.player.duration > 0.9")
    seen.evaluate("studio.view.setStretch(0.5, 0.8)")
    press("a")
    seen.heading("Edit tune").wait_for()
    added = ("sketch", "1", "0:00.500", "0:00.800")
    assert parts_of(seen) == [before, own, between, after, added]
    part = page.get_by_role("group", name="Part 5")
    part.get_by_role("button", name="Earlier").focus()
    press("Enter")
    assert seen.evaluate("document.activeElement.id") == "earlier-3"  # it follows the part
    for _ in range(3):
        press("Enter")
    page.get_by_role("group", name="Part 5").get_by_role("button", name="Take out").click()
    page.get_by_role("group", name="Part 1").get_by_role("button", name="Repeat").click()
    page.get_by_label("From", exact=True).nth(1).fill("0.6")
    assert parts_of(seen) == [added, ("sketch", "1", "0.6", "0:00.800"), before, own, between]
    heard = page.get_by_role("group", name="Part 1").get_by_role("button", name="Hear")
    with page.expect_response("**/part?**") as answer:
        heard.click()
    assert answer.value.ok
    assert answer.value.url.split("?")[1].startswith("from=0.5&seconds=0.3")
    page.get_by_label("Move by up to, in seconds").fill("9")
    page.get_by_label("Fade, in seconds").fill("4")
    page.get_by_text("a fade lasts from 0 to 1 seconds, got 4").wait_for()
    page.get_by_label("Move by up to, in seconds").fill("0.02")  # less than it proposes
    page.get_by_label("Fade, in seconds").fill("0.02")
    page.get_by_text("More settings").click()
    page.get_by_label("Its time in the song").select_option("That of its first part")
    page.get_by_label("Name of the piece").fill("merged")
    page.get_by_text("of music from 5 parts").wait_for()
    page.get_by_text("level 0 and level 1 left out, which take 1 of sketch").wait_for()
    joins = page.locator("#plan-notes li", has_text="Join at").all_inner_texts()
    seen.button("Put together").click()
    seen.heading("merged").wait_for()
    seen.wait_for("sketch")
    assert page.get_by_text("You began to edit").count() == 0

    places = {name: str(library.folder / name) for name in ("tune", "sketch")}
    command = ["edit", f"{places['sketch']}:1@0.5-0.8", f"{places['sketch']}:1@0.6-0.8"]
    command += [f"{places['tune']}:2@-0.2", f"{places['tune']}:2@0.4-0.6"]
    command += [f"{places['tune']}:2@0.2-0.4", "--snap", "0.02", "--fade", "0.02"]
    place = tmp_path / "cli"
    result = CliRunner().invoke(main, [*command, "--timing", "keep", "-q", "-o", str(place)])
    assert result.exit_code == 0, result.output
    assert checksums(library.folder / "merged") == checksums(place)
    made, expected = (Session.open(one).record for one in (library.folder / "merged", place))
    assert made.parent == expected.parent
    assert made.parent is not None
    assert len(joins) == len(made.parent.details["joins"]) == 4
    assert made.takes[0].prompt == expected.takes[0].prompt
    assert made.takes[0].prompt.offset_seconds == pytest.approx(0.5, abs=0.03)  # it was moved
    page.get_by_text("is put together from").wait_for()
    page.get_by_text("take 1 and tune").wait_for()


def test_two_pieces_are_joined(library: StudioProcess, visit: Open) -> None:
    seen = visit(library, "#sketch")
    seen.wait_until("studio.player.duration > 0.9")
    seen.button("Join with another piece").click()
    assert seen.evaluate("document.activeElement.id") == "f-piece-1"
    seen.page.get_by_label("Piece", exact=True).nth(1).select_option("tune")
    seen.page.get_by_label("Take", exact=True).nth(1).select_option("Take 2")
    assert parts_of(seen) == [("sketch", "1", "", ""), ("tune", "2", "", "")]
    seen.page.get_by_text("of music from 2 parts").wait_for()
    seen.button("Back").click()
    seen.heading("sketch").wait_for()
    assert seen.evaluate("sessionStorage.length") == 0


def test_an_open_edit_follows_what_happens_to_its_pieces(
    library: StudioProcess, visit: Open
) -> None:
    """Pieces get other names, come and go; what is typed stays, and is never taken for another."""
    place = shutil.copytree(library.folder / "sketch", library.folder / "early")
    record = json.loads((place / "session.json").read_text(encoding="utf-8"))
    (place / "session.json").write_text(json.dumps(record | {"id": "of-its-own"}), encoding="utf-8")
    seen = visit(library, "#early")
    page = seen.page
    seen.wait_until("studio.player.duration > 0.9")
    seen.evaluate("studio.view.setStretch(0.2, 0.6)")
    page.keyboard.press("x")
    rest = ("0:00.600", "")
    assert parts_of(seen) == [("early", "1", "", "0:00.200"), ("early", "1", *rest)]
    page.get_by_label("To", exact=True).nth(1).fill("0,1")  # no time: the next part is not taken
    page.get_by_text("part 1: to: '0,1' is not a duration").wait_for()
    seen.button("Hear").click()
    page.get_by_text("There is nothing to hear of part 1").wait_for()
    page.get_by_label("To", exact=True).nth(1).fill("0.1")
    page.get_by_text("of music from 2 parts").wait_for()

    library.act("early", "rename", name="late")
    seen.look_again()
    seen.heading("Edit late").wait_for()
    assert parts_of(seen) == [("late", "1", "", "0.1"), ("late", "1", *rest)]
    shutil.copytree(library.folder / "sketch", library.folder / "newcomer")
    seen.look_again()
    page.locator("#f-piece-1 option", has_text="newcomer").wait_for(state="attached")
    library.act("late", "remove")
    seen.look_again()
    page.get_by_text("there is no piece 'late' here").wait_for()
    page.get_by_label("Piece", exact=True).nth(0).select_option("newcomer")
    page.get_by_label("Piece", exact=True).nth(1).select_option("newcomer")
    page.get_by_text("of music from 2 parts").wait_for()
    page.get_by_label("To", exact=True).nth(0).fill("soon")  # of the stretch
    page.get_by_text("part 1: from: 'soon' is not a duration").wait_for()
    seen.evaluate("sessionStorage.setItem('jukebox-studio-edit', '{}')")  # of another version
    page.goto(f"{library.address}#newcomer")
    page.reload()
    seen.button("Arrange parts").wait_for()
    shutil.rmtree(library.folder / "newcomer")


def test_a_form_knows_the_model_of_its_piece(
    library: StudioProcess, visit: Open, tiny_model: Path
) -> None:
    """The studio's own model sings; that of this piece does not."""
    generate(tiny_model, library.folder / "other", "--seconds", "0.2", "--to-level", "2")
    seen = visit(library, "#other")
    seen.button("Continue take 1").click()
    lyrics = seen.page.get_by_label("Lyrics", exact=True)
    seen.page.get_by_placeholder("This model knows no words; lyrics change nothing.").wait_for()
    seen.page.get_by_text("Made with").wait_for()
    seen.button("New piece").click()
    seen.page.get_by_placeholder("Words to sing, if the model can sing").wait_for()
    assert lyrics.is_visible()


def test_an_intro_is_put_in(library: StudioProcess, visit: Open) -> None:
    seen = visit(library, "#sketch")
    seen.heading("sketch").wait_for()
    seen.page.locator("#take-1").wait_for()
    seen.page.keyboard.press("i")
    seen.heading("Put new music into sketch").wait_for()
    assert seen.page.get_by_label("Where", exact=True).input_value() == "0:00.000"
    seen.page.get_by_label("How much, in seconds").fill("0.16")
    seen.page.get_by_label("Ways to try").fill("2")
    seen.page.get_by_text("of music.").wait_for()  # the plan
    seen.button("Put it in").click()
    seen.wait_until("studio.view.name && studio.view.name !== 'sketch'")
    seen.wait_for("sketch")
    before = Session.open(library.folder / "sketch").codes(1)
    after = Session.open(library.folder / seen.evaluate("studio.view.name")).codes(1)
    assert before is not None
    assert after is not None
    assert after.levels[2][0, 10:].tolist() == before.levels[2][0].tolist()
    seen.page.keyboard.press("m")  # another try of the same
    seen.heading("Put new music into sketch").wait_for()
    assert seen.page.get_by_label("How much, in seconds").input_value() == "0.16"


def test_several_finishes_with_a_genre_of_a_layer_become_wide_stereo(
    library: StudioProcess, visit: Open, lyric_model: Path, tmp_path: Path
) -> None:
    short = library.folder / "short"
    generate(lyric_model, short, "--seconds", "0.5", "--to-level", "2", "--seed", "3")
    seen = visit(library, "#short")
    seen.heading("short").wait_for()
    seen.button("Finish the take").click()
    seen.page.get_by_label("Ways to finish each take").fill("3")
    seen.page.get_by_text("More settings").click()
    seen.page.get_by_label("Middle layer: genre").fill("jazz")
    seen.button("Finish", exact=True).click()
    seen.wait_until("studio.view.name && studio.view.name !== 'short'")
    seen.wait_for("done")
    made = library.folder / seen.evaluate("studio.view.name")
    command = ["upsample", str(short), "--renders", "3", "--genre", "1=jazz", "-q"]
    result = CliRunner().invoke(main, [*command, "-o", str(tmp_path / "cli")])
    assert result.exit_code == 0, result.output
    assert checksums(made) == checksums(tmp_path / "cli")
    seen.button("Export", exact=True).click()
    seen.page.get_by_label("Wide stereo from three takes").check()
    seen.page.get_by_label("Left", exact=True).select_option("3")
    seen.page.get_by_label("Right: seconds late").fill("9")
    seen.page.get_by_role("dialog").get_by_role("button", name="Export").click()
    seen.page.get_by_text("give a delay for each of the three, from 0 to 1 seconds").wait_for()
    seen.page.get_by_label("Right: seconds late").fill("0.05")
    with seen.page.expect_download() as downloading:
        seen.page.get_by_role("dialog").get_by_role("button", name="Export").click()
    options = ["--stereo", "3,2,3", "--delay", "0.02,0,0.05", "-o", str(tmp_path / "wide")]
    result = CliRunner().invoke(main, ["sessions", "export", str(made), *options])
    assert result.exit_code == 0, result.output
    (wide,) = (tmp_path / "wide").iterdir()
    assert downloading.value.suggested_filename == wide.name
    assert Path(downloading.value.path()).read_bytes() == wide.read_bytes()


def test_ten_minutes_are_heard_and_drawn_in_parts(library: StudioProcess, visit: Open) -> None:
    """A piece that is not finished, so that only its preview is there: a tone that rises."""
    place = make_long_piece(library.folder / "tune", library.folder / "long")
    try:
        seen = visit(library)
        sizes: list[int] = []
        seen.page.on(
            "response",
            lambda answer: (
                sizes.append(int(answer.headers.get("content-length", "0")))
                if "/takes/" in answer.url
                else None
            ),
        )
        seen.button("long").click()
        seen.heading("long").wait_for()
        seen.wait_until("studio.view.sounds.picture(1)?.end > 599.9")
        picture = "[100, 1200, 2300].map((at) => studio.view.sounds.picture(1).high[at])"
        assert seen.evaluate(picture) == pytest.approx([0.133, 0.5, 0.867], abs=0.01)
        early = "(() => {const p = new studio.player.constructor(); p.seek(30); return p.now()})()"
        assert seen.evaluate(early) == 30  # where there is no sound yet
        for at in (30.0, 555.5):
            seen.evaluate(f"studio.player.seek({at})")
            if at == 30:
                seen.button("Play", exact=True).click()
            loud = (0.1 + 0.8 * at / LONG_SECONDS) / math.sqrt(2)
            seen.wait_until(f"Math.abs(studio.player.rms() - {loud}) < 0.02", every=30)
            assert seen.evaluate("studio.player.now()") == pytest.approx(at, abs=5)
            assert seen.evaluate("studio.player.buffer.duration") <= 61
        assert max(sizes) <= 61 * LONG_RATE * 2
        assert sum(sizes) < 1.5 * LONG_SECONDS * LONG_RATE * 2  # nothing is fetched again and again
    finally:
        shutil.rmtree(place)


def test_words_light_up_in_order_and_a_click_goes_there(
    library: StudioProcess, visit: Open
) -> None:
    (path,) = library.folder.glob("tune/01_*.words.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found, "the model told when its words are sung"
    # A model of random weights sings them all at once: spread them over the piece.
    places = enumerate(WORDS.split())
    spread = [
        {**found[0], "text": word, "start_seconds": 0.15 * place, "end_seconds": 0.15 * place + 0.1}
        for place, word in places
    ]
    path.write_text(json.dumps(spread), encoding="utf-8")
    seen = visit(library, "#tune")
    seen.page.locator("#words button").first.wait_for()
    words = seen.evaluate("studio.view.take().words")
    assert [word["text"] for word in words] == WORDS.split()
    seen.wait_until("studio.player.duration > 0.9")
    seen.page.locator("#words button").last.click()
    last = words[-1]["start"]
    assert seen.evaluate("studio.player.now()") == pytest.approx(last, abs=0.05)
    seen.evaluate(
        """() => {
          globalThis.lit = [];
          new MutationObserver(() => {
            const now = document.querySelector("#words [aria-current]");
            if (studio.player.playing && now && lit.at(-1) !== now.id) lit.push(now.id);
          }).observe(document.getElementById("words"), { attributes: true, subtree: true });
          studio.player.seek(0);
        }"""
    )
    seen.page.keyboard.press("Escape")
    seen.button("Play", exact=True).click()
    seen.wait_until("!studio.player.playing")
    lit = seen.evaluate("lit")
    order = [int(name.removeprefix("word-")) for name in lit]
    assert order == sorted(order)
    assert len(order) >= 4


def test_a_wrong_request_gets_the_command_lines_sentence(
    library: StudioProcess, visit: Open, lyric_model: Path, tmp_path: Path
) -> None:
    seen = visit(library)
    names = {path.name for path in library.folder.iterdir()}
    seen.fill_new(genre="rock", seconds="50")
    seen.page.get_by_text("More settings").click()
    seen.page.get_by_label("Length of the whole song").fill("70")
    seen.button("Make", exact=True).click()
    alert = seen.page.locator("#form-wrong")
    alert.wait_for()
    command = ["generate", "--model", str(lyric_model), "-o", str(tmp_path / "x")]
    result = CliRunner().invoke(main, [*command, "--seconds", "50", "--total-seconds", "70"])
    assert alert.inner_text() in result.stderr
    assert seen.page.get_by_label("Length of the whole song").input_value() == "70"
    assert {path.name for path in library.folder.iterdir()} == names


def test_a_piece_of_the_command_line_is_followed_and_not_touched(
    library: StudioProcess, visit: Open, lyric_model: Path
) -> None:
    command = [sys.executable, "-m", "jukebox_hf", "generate", "--model", str(lyric_model)]
    place = library.folder / "theirs"
    with subprocess.Popen([*command, "--seconds", "8", "-q", "-o", str(place)]) as theirs:
        try:
            seen = visit(library)
            seen.button("theirs").click()
            seen.page.get_by_text("Another program is working on it").wait_for()
            first = seen.evaluate("studio.state.piece.share")
            seen.wait_until(f"studio.state.piece.share > {first}")
            assert seen.page.locator("#go-on").count() == 0
            status, found = library.ask("POST", "/api/pieces/theirs/go-on", {})
            assert status == 409
            assert "being worked on by another program" in found["error"]
            for verb, body in (("rename", {"name": "ours"}), ("remove", {})):
                assert library.ask("POST", f"/api/pieces/theirs/{verb}", body)[0] == 409
                assert seen.page.locator(f"#{verb}").count() == 0
            assert seen.page.locator("#continue").is_disabled()
            seen.wait_until("studio.player.duration > 0")  # one can listen
        finally:
            theirs.kill()
    seen.wait_for("stopped")


def test_some_wait_and_one_is_taken_out(start: Start, visit: Open) -> None:
    studio = start()
    seen = visit(studio)
    for number, seconds in enumerate(("2", "0.5", "0.5", "0.5"), start=1):
        assert seen.make(seconds=seconds) == f"song-{number}"
    seen.page.get_by_role("button", name="Take song-2 out of the queue").click()
    seen.wait_until("studio.state.queue.map((job) => job.piece).join() === 'song-1,song-3,song-4'")
    studio.kill()
    start(port=studio.port)
    seen.page.get_by_text("The studio does not answer").wait_for(state="hidden")
    seen.wait_until("studio.state.queue.map((job) => job.piece).join() === 'song-1,song-3,song-4'")
    seen.wait_for("done")  # song-4 is open
    made = seen.evaluate("studio.state.pieces.map((one) => one.name).join()")
    assert made == "song-1,song-3,song-4"


def test_words_of_strangers_stay_text(library: StudioProcess, visit: Open) -> None:
    evil = (
        "<img src=x onerror=\"document.title='gone'\"> & \"quotes\" 'and' <script>alert(1)</script>"
    )
    record = json.loads((library.folder / "tune" / "session.json").read_text(encoding="utf-8"))
    place = library.folder / 'it\'s <b>mine & "yours"'
    shutil.copytree(library.folder / "tune", place)
    for take in record["takes"]:
        take["prompt"] |= {"lyrics": evil, "genre": evil[:60], "artist": evil[:60]}
    record["notes"] = [evil]
    (place / "session.json").write_text(json.dumps(record), encoding="utf-8")
    try:
        seen = visit(library)
        seen.button(place.name).click()
        seen.heading(place.name).wait_for()
        seen.page.get_by_text("About this piece").click()
        assert seen.page.locator("dd", has_text="onerror").first.inner_text() == evil
        assert seen.page.locator("main img, main script, nav img, nav b").count() == 0
        assert seen.page.title() == "Jukebox studio"
        seen.wait_until("studio.player.duration > 0.9")  # its name is no hindrance
    finally:
        shutil.rmtree(place)


def test_a_visitor_of_a_space_comes_back_to_the_same_room(
    library: StudioProcess, start: Start, visit: Open
) -> None:
    """The page around it, of the Hub, always opens the address that leads to a new room."""
    studio = start(SPACE_ID="me/band", SPACE_HOST="me-band.hf.space")
    seen = visit(studio)
    seen.page.get_by_text("None yet.").wait_for()
    room = seen.evaluate("location.pathname")
    shutil.copytree(library.folder / "tune", studio.folder / room.split("/")[2] / "tune")
    seen.look_again()
    seen.button("tune").wait_for()
    seen.button("tune").wait_for()
    seen.page.goto(studio.address)
    seen.button("tune").click()
    seen.heading("tune").wait_for()
    assert seen.evaluate("location.pathname") == room
    seen.page.go_back()
    seen.heading("Make music by choosing").wait_for()
    other = visit(studio)
    other.page.get_by_text("None yet.").wait_for()
    assert other.evaluate("location.pathname") != room


LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {},
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True},
}


@pytest.mark.parametrize("look", LOOKS)
def test_nobody_is_kept_out(look: str, library: StudioProcess, visit: Open) -> None:
    """axe-core finds nothing to mend, in light and dark colours, and nothing scrolls sideways."""
    seen = visit(library, **LOOKS[look], bypass_csp=True)
    screens = {
        "welcome": lambda: seen.heading("Make music by choosing").wait_for(),
        "form": lambda: (
            seen.button("New piece").click(),
            seen.page.get_by_text("More settings").click(),
            seen.page.get_by_text("of music.").wait_for(),
            seen.page.locator("#f-seconds").fill("x"),
            seen.page.locator("#form-wrong").wait_for(),
            seen.context.set_offline(True),
            seen.look_again(),
            seen.page.locator("#away").wait_for(),
        ),
        "piece": lambda: (
            seen.context.set_offline(False),
            seen.page.goto(f"{library.address}#tune"),
            seen.heading("tune").wait_for(),
            seen.wait_until("studio.player.duration > 0.9"),
        ),
        "edit": lambda: (
            drag(seen, 1, 0.2, 0.7),
            seen.page.locator("#move-stretch").click(),
            seen.page.get_by_text("More settings").click(),
            seen.page.get_by_text("of music from").wait_for(),
        ),
        "draft": lambda: (
            seen.page.goto(f"{library.address}#sketch"),
            seen.page.get_by_text("You began to edit").wait_for(),
            seen.button("Drop the edit").click(),
            seen.button("Arrange parts").wait_for(),
            seen.button("tune").click() if look != "phone" else seen.page.go_back(),
            seen.heading("tune").wait_for(),
            seen.wait_until("studio.player.duration > 0.9"),
        ),
        "export": lambda: (
            seen.page.locator("#export").click(),
            seen.page.get_by_role("dialog", name="Export tune").wait_for(),
            seen.page.get_by_label("Wide stereo from three takes").check(),
        ),
        "infill": lambda: (
            seen.page.keyboard.press("Escape"),
            drag(seen, 1, 0.2, 0.7),
            seen.page.locator("#infill").click(),
            seen.page.get_by_text("of music.").wait_for(),
        ),
        "back": lambda: (seen.button("Back").click(), seen.heading("tune").wait_for()),
        "list": lambda: look == "phone" and seen.button("Pieces").click(),
        "keys": lambda: look != "phone" and seen.button("Keys").click(),
    }
    for name, go in screens.items():
        go()
        assert violations(seen) == [], name
        if look == "desktop":
            seen.page.emulate_media(color_scheme="dark")
            assert violations(seen, "color-contrast") == [], f"{name} in the dark"
            seen.page.emulate_media(color_scheme="light")
        wide = seen.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} scrolls sideways by {wide} pixels"
    colours = [  # of hints in fields, which axe-core does not look at, and of text that it did
        seen.evaluate(f"getComputedStyle(document.querySelector({one}).color")
        for one in ("'#search'), '::placeholder'", "'#side label')")
    ]
    assert colours[0] == colours[1]
    told = seen.page.locator("#acts").inner_text()
    assert "Drag across the picture to choose a stretch" in told
    assert ("press [" in told) == (look == "desktop")  # there are no keys on a phone
    assert seen.page.locator("#show-keys").is_visible() == (look == "desktop")
    if look == "phone":
        heights = seen.evaluate(
            "[...document.querySelectorAll('button, select, input:not([type=checkbox])')]"
            ".filter((one) => one.offsetParent && !one.closest('.words'))"
            ".map((one) => one.getBoundingClientRect().height)"
        )
        assert min(heights) >= 40


def test_a_picture_of_the_sound_is_drawn(library: StudioProcess, visit: Open) -> None:
    seen = visit(library, "#tune")
    seen.wait_until("studio.player.duration > 0.9")
    count = """(() => {
      const canvas = document.querySelector("#takes canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const colours = new Set();
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3]) colours.add(data[at] + "," + data[at + 1]);
      }
      return colours.size;
    })()"""
    waveform = seen.wait_until(count)
    seen.button("Spectrogram").click()
    spectrogram = seen.wait_until(count)
    assert spectrogram > waveform + 10
    assert math.isfinite(spectrogram)
    seen.button("sketch").click()
    seen.heading("sketch").wait_for()
    seen.page.locator("#play").wait_for()
    assert seen.page.locator("#key").is_hidden()  # its colours are those of the waveform


def test_removing_undoing_and_renaming(library: StudioProcess, visit: Open) -> None:
    shutil.copytree(library.folder / "sketch", library.folder / "spare")
    older = shutil.copytree(library.folder / "sketch", library.folder / ".trash" / "older")
    seen = visit(library, "#spare")
    seen.heading("spare").wait_for()
    seen.button("Remove", exact=True).click()
    seen.page.get_by_text("spare is in the bin.").wait_for()
    assert not (library.folder / "spare").exists()
    seen.button("Undo").click()
    seen.heading("spare").wait_for()
    assert (library.folder / "spare" / "session.json").is_file()
    seen.button("Rename").click()
    name = seen.page.get_by_label("New name")
    name.fill("sketch")  # which is taken
    seen.page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    seen.page.get_by_text("there is a piece or file called sketch already").wait_for()
    assert name.input_value() == "sketch"
    name.fill("my-spare")
    seen.page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    seen.heading("my-spare").wait_for()
    assert {"spare", "my-spare"} & {path.name for path in library.folder.iterdir()} == {"my-spare"}
    seen.button("Remove", exact=True).click()
    seen.page.get_by_text("my-spare is in the bin.").wait_for()
    seen.page.get_by_text("Bin", exact=True).click()
    seen.button("Put my-spare back").click()
    seen.button("my-spare").wait_for()
    assert older.is_dir()  # nothing else came back
