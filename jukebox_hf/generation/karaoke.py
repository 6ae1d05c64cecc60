"""A web page that plays a piece and lights up the words as they are sung. One file, no network.

Words with their times and an audio file go in; HTML comes out. All text is escaped: lyrics and
titles come from strangers.
"""

import base64
import html
import json
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from jukebox_hf.files import write_text
from jukebox_hf.generation.word_times import SungWord

MIME_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
}
# Browsers become slow when more than this stands inside a page.
LARGEST_EMBEDDED_BYTES = 64 * 1024 * 1024
CLICK = "Click a word to hear the music from there."
UNPLACED = "For words in grey the model gave no time."

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<style>
  :root { color-scheme: light dark; background: Canvas; color: CanvasText; }
  body { font: 1.25rem/1.9 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem; }
  header { position: sticky; top: 0; background: Canvas; padding: .5rem 0; }
  h1 { font-size: 1.2rem; margin: 0 0 .5rem; }
  audio { width: 100%; }
  #lyrics { white-space: pre-wrap; overflow-wrap: anywhere; }
  #lyrics, #hint { color: light-dark(#666, #999); }
  .word { color: CanvasText; cursor: pointer; border-radius: .3em; padding: .05em .1em; }
  .sung { color: light-dark(#1f6aab, #7db8e8); }
  .now { background: #ffd84d; color: #111; }
  footer { font-size: .8rem; opacity: .7; margin-top: 2rem; white-space: pre-line; }
  #hint { font-size: .8rem; }
  #download { font-size: .8rem; }
</style>
</head>
<body>
<header><h1>@TITLE@</h1><audio id="player" controls preload="auto" src="@AUDIO@"></audio>
<a id="download" download="@NAME@">Download</a></header>
<main id="lyrics">@LYRICS@</main>
<p id="hint">@HINT@</p>
<footer>@FOOTER@</footer>
<script>
"use strict";
const times = @TIMES@;  // [start, end] of every word, in seconds
const words = Array.from(document.querySelectorAll(".word"));
const player = document.getElementById("player");
document.getElementById("download").href = player.src;
let shown = null;
function show() {
  const now = player.currentTime;
  let current = -1;
  words.forEach((word, i) => {
    word.classList.toggle("sung", times[i][1] <= now);
    if (times[i][0] <= now && now < times[i][1]) current = i;
  });
  if (current !== shown) {
    if (shown !== null && shown >= 0) words[shown].classList.remove("now");
    if (current >= 0) {
      words[current].classList.add("now");
      if (!player.paused) words[current].scrollIntoView({block: "center", behavior: "smooth"});
    }
    shown = current;
  }
}
function follow() { show(); if (!player.paused) requestAnimationFrame(follow); }
player.addEventListener("play", follow);
player.addEventListener("seeked", show);
words.forEach((word, i) => word.addEventListener("click", () => {
  player.currentTime = times[i][0];
  player.play();
}));
</script>
</body>
</html>
"""


def save_karaoke_page(
    path: str | os.PathLike[str],
    words: Sequence[SungWord],
    lyrics: str,
    audio: str | os.PathLike[str],
    *,
    title: str = "",
    notes: str = "",
    embed_audio: bool = True,
) -> None:
    """Write the page; an existing file is replaced in one step.

    Args:
        path: of the page.
        words: in the order of the lyrics, from `word_times`.
        lyrics: the whole text; what is not among the words is shown and never lit.
        audio: a file that browsers play. Embedded in the page, unless `embed_audio` is false or it
            is larger than 64 MB: then the page refers to it by its path from the page's folder, and
            both must be moved together.
        title: shown above the player.
        notes: shown below the lyrics, such as the model and its licence.

    Raises `ValueError` for audio that browsers do not play, `OSError` for files that cannot be read
    or written.
    """
    page_text = karaoke_page(
        words,
        lyrics,
        audio_source(Path(audio), Path(path).parent, embed=embed_audio),
        title=title,
        notes=notes,
        file_name=Path(audio).name,
    )
    write_text(path, page_text)


def karaoke_page(
    words: Sequence[SungWord],
    lyrics: str,
    audio_url: str,
    *,
    title: str = "",
    notes: str = "",
    file_name: str = "",
) -> str:
    """The page as text; `audio_url` may be a data URI, saved under `file_name` if one wants to."""
    times = [[round(word.start_seconds, 3), round(word.end_seconds, 3)] for word in words]
    replacements = {
        "TITLE": html.escape(title or "Lyrics"),
        "AUDIO": html.escape(audio_url),
        "LYRICS": _marked(words, lyrics),
        "HINT": f"{CLICK} {UNPLACED}" if _has_more(words, lyrics) else CLICK if words else "",
        "NAME": html.escape(file_name),
        "FOOTER": html.escape(notes),
        "TIMES": json.dumps(times),  # numbers only
    }
    before, *parts = PAGE.split("@")  # names at odd places: no replacement is replaced again
    page = before
    for place, part in enumerate(parts):
        page += replacements[part] if place % 2 == 0 else part
    return page


def audio_source(audio: Path, page_folder: Path, *, embed: bool = True) -> str:
    """What the page's player plays: a data URI, or the way from the page to the file."""
    mime_type = MIME_TYPES.get(audio.suffix.lower())
    if mime_type is None:
        raise ValueError(
            f"browsers do not play {audio.suffix!r} files; use one of {', '.join(MIME_TYPES)}"
        )
    if embed and audio.stat().st_size <= LARGEST_EMBEDDED_BYTES:
        encoded = base64.b64encode(audio.read_bytes()).decode("ascii")
        return f"data:{mime_type};base64,{encoded}"
    relative = Path(os.path.relpath(audio.resolve(), page_folder.resolve())).as_posix()
    return "./" + quote(relative)


def _has_more(words: Sequence[SungWord], lyrics: str) -> bool:
    """Whether the lyrics have words beside these."""
    return sum(len(word.text.split()) for word in words) < len(lyrics.split())


def _marked(words: Sequence[SungWord], lyrics: str) -> str:
    """The lyrics as HTML, with every word in a span of its own."""
    pieces, position = [], 0
    for word in words:
        end = word.first + len(word.text)
        pieces.append(html.escape(lyrics[position : word.first]))
        pieces.append(f'<span class="word">{html.escape(lyrics[word.first : end])}</span>')
        position = end
    pieces.append(html.escape(lyrics[position:]))
    return "".join(pieces)
