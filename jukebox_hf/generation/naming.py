"""What music is called and says about itself: file names, tags, and notes to who asked for it."""

from jukebox_hf.audio import AudioTags
from jukebox_hf.files import safe_file_name
from jukebox_hf.generation.plan import Plan, TakePlan
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.hub.manifest import OPENAI_LICENCE

LICENCE_NOTE = (
    "these weights are under OpenAI's Noncommercial Use License, which also covers the music made "
    "with them: no commercial use"
)


def take_file_name(number: int, prompt: Prompt, seed: int) -> str:
    """`NN_artist_genre_seed`, without what is not known; every system accepts it as a name."""
    words = [word for word in (prompt.artist, prompt.genre) if word]
    return "_".join(
        [f"{number:02d}", *(safe_file_name(word, max_bytes=60) for word in words), str(seed)]
    )


def take_tags(plan: Plan, take: TakePlan) -> AudioTags:
    """What an audio file of a take says about itself."""
    return AudioTags(
        title=f"Take {take.number}",
        artist=take.prompt.artist,
        genre=take.prompt.genre,
        generated=True,
        model=plan.system.title,
        seed=plan.settings.seed,
        licence=plan.system.licence,
    )


def run_notes(plan: Plan) -> tuple[str, ...]:
    """What somebody who asked for a plan should know."""
    licence = (LICENCE_NOTE,) if plan.system.licence == OPENAI_LICENCE else ()
    return (*plan.system.notes, *plan.notes, *licence)
