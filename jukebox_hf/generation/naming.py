"""What music is called and says about itself: file names, tags, and notes to who asked for it."""

from collections.abc import Mapping

from jukebox_hf.audio import AudioTags
from jukebox_hf.files import safe_file_name
from jukebox_hf.generation.plan import Plan, TakePlan
from jukebox_hf.generation.session_record import LabelsRecord
from jukebox_hf.generation.settings import Prompt, PromptRecord
from jukebox_hf.hub.manifest import OPENAI_LICENCE
from jukebox_hf.labels import UNKNOWN_ID, ResolvedLabels

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
        **name_tags(take.prompt, take.labels),
        generated=True,
        model=plan.system.title,
        seed=plan.settings.seed,
        licence=plan.system.licence,
    )


def page_notes(plan: Plan, take: TakePlan) -> str:
    """What a page about a take says below it: model, licence, names asked for and used."""
    licence = f"licence: {plan.system.licence}" if plan.system.licence else None
    lines = [_listed("Made by", plan.system.title, f"seed {plan.settings.seed}", licence)]
    prompt = take.prompt
    asked = [
        f"{kind} {name}"
        for kind, name in (("artist", prompt.artist), ("genre", prompt.genre))
        if name
    ]
    lines.append(_listed("Asked for:", *(asked or ["no names"])))
    if take.labels:
        top = take.labels[max(take.labels)]
        lines.append(_listed("Used:", f"artist {top.artist_name}", f"genre {top.genre_name}"))
    return "\n".join(lines)


def _listed(opening: str, *parts: str | None) -> str:
    return f"{opening} {', '.join(part for part in parts if part)}"


def name_tags(
    prompt: Prompt | PromptRecord,
    labels: Mapping[int, ResolvedLabels] | Mapping[int, LabelsRecord],
) -> dict[str, str | None]:
    """The tags artist, genre and comment of a take.

    A name that no level knows is none of the music's: it stands in the comment, as a wish. Without
    labels nothing was asked of a prior, and names are those of what a piece was edited from.
    """
    known = {
        "artist": not labels or any(own.artist_id != UNKNOWN_ID for own in labels.values()),
        "genre": not labels or any(set(own.genre_ids) - {UNKNOWN_ID} for own in labels.values()),
    }
    tags: dict[str, str | None] = {"artist": prompt.artist, "genre": prompt.genre}
    wishes = [
        f"{name} asked for, which the model does not know: {tags[name]}"
        for name, is_known in known.items()
        if tags[name] and not is_known
    ]
    shown = {name: tags[name] if is_known else None for name, is_known in known.items()}
    return {**shown, "comment": "; ".join(wishes) or None}


def run_notes(plan: Plan) -> tuple[str, ...]:
    """What somebody who asked for a plan should know."""
    licence = (LICENCE_NOTE,) if plan.system.licence == OPENAI_LICENCE else ()
    of_model = plan.system.notes if plan.levels else ()  # nothing is asked of a prior
    return (*of_model, *plan.notes, *licence)
