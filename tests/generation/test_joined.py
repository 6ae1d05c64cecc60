"""Codes made of chains keep their seams when they are cut, continued and joined."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from jukebox_hf.generation import JukeboxPipeline, Request, Session
from jukebox_hf.generation.chains import FADE_STFT, Chain, Seam
from jukebox_hf.generation.joined import Excerpt, Joined, combine, join
from jukebox_hf.generation.making import Generation, decode_joined
from jukebox_hf.generation.windows import Run
from jukebox_hf.hub import System
from jukebox_hf.vqvae import JukeboxVQVAE

HOPS = (8, 32, 128)


def piece(*, length: int = 400, seams: tuple[int, ...] = (120, 250), reach: int = 20) -> Joined:
    """A piece of chains that reach over their seams with other codes than are heard there."""
    generator = torch.Generator().manual_seed(length + len(seams))
    codes = torch.randint(16, (length,), generator=generator)
    cuts = [0, *seams, length]
    chains = []
    for begin, end in itertools.pairwise(cuts):
        first, last = max(begin - reach, 0), min(end + reach, length)
        own = torch.randint(16, (last - first,), generator=generator)
        own[begin - first : end - first] = codes[begin:end]
        chains.append(Chain(Run(first, last), own))
    return Joined(codes, tuple(chains), tuple(Seam(cut, 0.5) for cut in seams))


@pytest.fixture(scope="module")
def codec(tiny: System) -> JukeboxVQVAE:
    return tiny.load_vqvae()


@pytest.fixture(scope="module")
def chained(tiny: System, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A finished session whose levels 1 and 0 are cut into chains."""
    wanted = {"seconds": 0.8, "genre": "rock", "seed": 3, "chains": {1: 2, 0: 3}}
    pipeline = JukeboxPipeline(tiny, device="cpu")
    session = pipeline.begin(tmp_path_factory.mktemp("chained") / "s", Request.new(wanted))
    for _ in session.run(tiny, device="cpu", previews=False):
        pass
    return session


def sound(codec: JukeboxVQVAE, session: Session, level: int) -> Tensor:
    codes = session.joined_codes(1)
    assert codes is not None
    return decode_joined(codec, level, codes.level(level))[0]


def assert_sounds_the_same(
    found: Tensor, expected: Tensor, *, up_to: int, codec: JukeboxVQVAE, level: int
) -> None:
    """Two pieces sound the same up to where the decoder hears what is different in them."""
    end = up_to - codec.decoding_halo(level) * HOPS[level] - FADE_STFT
    assert end > 1000
    torch.testing.assert_close(found[:end], expected[:end], rtol=0, atol=5e-7)


@pytest.mark.parametrize("chains", [None, {1: 2, 0: 2}])
def test_a_continued_session_keeps_the_fades_at_its_old_seams(
    tiny: System, codec: JukeboxVQVAE, chained: Session, tmp_path: Path, chains: object
) -> None:
    pipeline = JukeboxPipeline(tiny, device="cpu")
    request = Request.more(chained.folder, {"seconds": 0.5, "from_seconds": 0.7, "chains": chains})
    session = pipeline.begin(tmp_path / "more", request)
    for number, _ in enumerate(session.run(tiny, device="cpu", previews=False)):
        if number == 1:
            break  # interrupted: what was given is read from disk again
    session = Session.open(session.folder)
    for _ in session.run(tiny, device="cpu", previews=False):
        pass
    joined, old = session.joined_codes(1), chained.joined_codes(1)
    assert joined is not None
    assert old is not None
    kept = round(0.7 * 8000) // 128 * 128
    for level in (0, 1):
        before = [seam.code for seam in old.level(level).seams if seam.code * HOPS[level] < kept]
        assert before
        assert [seam.code for seam in joined.level(level).seams][: len(before)] == before
        assert_sounds_the_same(
            sound(codec, session, level),
            sound(codec, chained, level),
            up_to=kept,
            codec=codec,
            level=level,
        )
    again = Generation(pipeline.plan(request, going_on=session), device="cpu")
    assert again.plan.take(1).existing[0] == kept // 8


def test_continuing_twice_keeps_them_too(
    tiny: System, codec: JukeboxVQVAE, chained: Session, tmp_path: Path
) -> None:
    pipeline = JukeboxPipeline(tiny, device="cpu")
    source = chained
    for name in ("once", "twice"):
        request = Request.more(source.folder, {"seconds": 0.5})
        source = pipeline.begin(tmp_path / name, request)
        for _ in source.run(tiny, device="cpu", previews=False):
            pass
    assert_sounds_the_same(
        sound(codec, source, 0), sound(codec, chained, 0), up_to=6400, codec=codec, level=0
    )


def test_finer_levels_of_chained_codes_are_made_below_the_same_seams(
    tiny: System, tmp_path: Path
) -> None:
    pipeline = JukeboxPipeline(tiny, device="cpu")
    wanted = {"seconds": 0.8, "seed": 3, "chains": {1: 2}}
    coarse = pipeline.begin(tmp_path / "coarse", Request.new({**wanted, "to_level": 1}))
    for _ in coarse.run(tiny, device="cpu", previews=False):
        pass
    run = pipeline.plan(Request.finer(coarse.folder, {"to_level": 0}))
    generation = Generation(run, device="cpu")
    generation.prepare()
    old = coarse.joined_codes(1)
    assert old is not None
    assert old.level(1).seams
    found = generation.joined(1, 1)
    assert found.seams == old.level(1).seams
    assert torch.equal(generation.decode(1, 1), decode_joined(generation.codec, 1, old.level(1)))


def test_parts_put_together_again_are_the_piece() -> None:
    whole = piece().settled(8, 8000)
    for cut in range(1, len(whole)):
        parts = [Excerpt(whole, 0, cut), Excerpt(whole, cut, len(whole))]
        joined = join(parts, [Seam(0, 1.0)], reach=7)
        assert torch.equal(joined.codes, whole.codes)
        assert [seam.code for seam in joined.seams] == sorted({120, 250, cut})
        first = whole.part(0, cut)
        assert [seam.code for seam in first.seams] == [s for s in (120, 250) if s < cut]
        again = first.followed_by_piece(whole.part(cut, len(whole)))
        assert torch.equal(again.codes, whole.codes)


def test_chains_that_go_on_are_heard_as_before() -> None:
    whole = piece()
    given = whole.part(0, 300)
    own = torch.cat([given.codes[280:], whole.codes[300:]])
    for grown in (
        given.followed_by(whole.codes[300:]),
        combine(whole.codes, given, ([Chain(Run(280, 400), own)], [])),
    ):
        assert torch.equal(grown.codes, whole.codes)
        assert grown.seams == whole.seams
        for index in range(3):
            assert torch.equal(grown.heard(index)[:300], whole.heard(index)[:300])


@pytest.mark.parametrize(
    ("chains", "seams", "expected"),
    [
        ([(0, 10)], [5], "1 chains have as many seams but one, got 1"),
        ([(0, 10), (4, 12)], [5], "a chain of 8 codes from 4 to 12 is none of a piece of 10 codes"),
        ([(0, 10), (4, 10)], [10], r"seams must be in order and within 10 codes, got \[10\]"),
    ],
)
def test_chains_of_another_piece_are_refused(
    chains: list[tuple[int, int]], seams: list[int], expected: str
) -> None:
    made = tuple(Chain(Run(*run), torch.zeros(run[1] - run[0]).long()) for run in chains)
    with pytest.raises(ValueError, match=expected):
        Joined(torch.zeros(10).long(), made, tuple(Seam(code, 1.0) for code in seams))
