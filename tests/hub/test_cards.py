"""Cards say what is known and nothing else, whatever a stranger's files hold."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard, ModelCardData

from jukebox_hf.hub import (
    OPENAI_LICENCE,
    Figure,
    System,
    TrainingData,
    TrainingFacts,
    load_training_facts,
    save_training_facts,
)
from jukebox_hf.hub.cards.card_text import adapter_text, codes_text, features_text, system_text
from jukebox_hf.hub.cards.markdown import cell, clean, code, prose
from jukebox_hf.hub.cards.model_facts import AdapterFacts, LabelFacts, gather_facts
from jukebox_hf.hub.cards.rendering import BEGIN, END, NewCard, make_card, read_card, text_outside
from jukebox_hf.hub.headers import StoredWeights
from jukebox_hf.hub.licences import card_licence, licence_in_card
from tests.tiny import tiny_prior_config, tiny_system

CODES = {
    "sampling_rate": 8000,
    "hop_lengths": [8, 32, 128],
    "levels": [1, 2],
    "codebook_size": 16,
    "fingerprint": None,
    "model": "me/codec",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_system(tmp_path_factory.mktemp("cards") / "model", "sequence", name="a tiny one")


def card_of(folder: Path, repo_id: str = "me/model", **options: Any) -> NewCard:
    return make_card(system_text(gather_facts(System.open(folder)), repo_id, **options))


def metadata(card: NewCard) -> dict[str, Any]:
    found = yaml.safe_load(card.content.split("---\n")[1])
    assert isinstance(found, dict)
    return found


def test_every_kind_of_card_is_one_that_the_hub_understands(model: Path, tmp_path: Path) -> None:
    demo = tiny_system(tmp_path / "demo", name="demo-22k")
    adapter = AdapterFacts(4, 8, "me/base", None)
    cards = {
        "system": card_of(model),
        "demo": card_of(demo),
        "vqvae": card_of(model / "vqvae", in_subfolder=False),
        "prior": card_of(model / "prior_2", in_subfolder=False),
        "upsampler": card_of(model / "prior_0", in_subfolder=False),
        "adapter": make_card(adapter_text(adapter, tiny_prior_config(2), "me/lora")),
        "codes": make_card(codes_text(CODES, "me/codes")),
        "features": make_card(features_text({}, "me/features")),
    }
    for kind, card in cards.items():
        assert card.kind == kind
        is_dataset = kind in ("codes", "features")
        parsed = (DatasetCard if is_dataset else ModelCard)(card.content)
        assert is_dataset or isinstance(parsed.data, ModelCardData)
        found = metadata(card)
        assert {"jukebox", "music"} <= set(found["tags"])
        assert "license" not in found  # nobody said
        if not is_dataset:
            assert found["library_name"] == "jukebox_hf"
            assert found["pipeline_tag"] in ("text-to-audio", "audio-to-audio")
        for heading in ("# ", "## Use", "## Limitations", "## Citation"):
            assert f"\n{heading}" in card.content, (kind, heading)
        assert "Training" not in card.text
        assert "None" not in card.text
        assert "\n\n\n" not in card.content
        assert "Non-commercial" not in card.text


def test_python_on_cards_can_be_read_and_imported(model: Path) -> None:
    import jukebox_hf

    for card in (card_of(model), card_of(model / "vqvae"), card_of(model / "prior_2")):
        (block,) = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
        compile(block, "card", "exec")
        for line in re.findall(r"from jukebox_hf import (.*)", block):
            assert all(hasattr(jukebox_hf, name.strip()) for name in line.split(","))


def test_everything_that_is_known_of_a_model_is_told(model: Path) -> None:
    facts = gather_facts(System.open(model))
    adapter = AdapterFacts(4, 8, "me/base", StoredWeights({}, 12_345, 49_380, {}), 1, 2)
    top = replace(
        facts.components["prior_2"], adapter=adapter, repo_id="me/base", revision="a" * 40
    )
    facts = replace(facts, licence=OPENAI_LICENCE, model_notes={"lyrics": "a note"})
    elsewhere = {name: replace(part, repo_id="me/b") for name, part in facts.components.items()}
    system, adapted, codec = (
        make_card(system_text(replace(facts, components=parts), "me/model")).text
        for parts in (
            facts.components,
            {**elsewhere, "prior_2": top},
            {"vqvae": facts.components["vqvae"]},
        )
    )
    assert top.weights is not None
    count = f"{top.weights.num_parameters:,}"
    place = f"[me/base](https://huggingface.co/me/base) at `{'a' * 12}`, with the adapter here |"
    of_the_prior = (
        "Sees 8 symbols of lyrics at once",
        "3 artists and 4 genres, such as rock, jazz",
    )
    expected = {
        system: (
            "it makes music as raw audio, with singing, from artist, genre and lyrics.",
            "jukebox generate --model me/model --genre rock --lyrics song.txt\n",
            """pipeline.generate(genre='rock', lyrics="La la la").save("my_song")\n""",
            f"| prior_2 | prior of level 2, hears 0.512 s at once | {count} | float32 | here |",
            "- Sampling rate 8,000 Hz, mono\n- Pieces up to 60 s; under 0.5 s as the start of one",
            "- Makes 1 s, as part of a piece of 4 s, unless asked for something else\n",
            "## Limitations\n\n- a note\n- It hears 0.512 s at once: what was longer ago",
            "- Names of artists steer the style",
            *of_the_prior,
        ),
        adapted: (
            "of a Jukebox model (me/base): it changes",
            "- LoRA of rank 4, alpha 8\n- 12,345 parameters of its own, 49.4 kB\n",
            "- Adds 1 artist\n- Adds 2 genres\n- Window of 32 codes: 0.512 s of 8,000 Hz audio\n",
            "- Transformer of 16 layers, width 16, 2 heads, attention `factored_prime_dense`\n",
            f"- {count} parameters in float32, ",
            "- Trained on codes of the codebooks `sha256:",
            place,
            *of_the_prior,
        ),
        codec: (
            "| 1 | 32 | 250.0 |",
            "- 16 codes of 4 dimensions per level, in float32 whatever the rest is loaded in\n",
            "`: priors trained on its codes carry the same\n",
            "- Mono, 8,000 Hz; other audio is converted first.\n",
        ),
    }
    for text, lines in expected.items():
        for line in (
            *lines,
            "> **Non-commercial.** These weights are",
            "no commercial use.\n\n## Cit",
        ):
            assert line in text, (line, text)


def test_training_is_told_as_its_file_tells_it(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    facts = TrainingFacts(
        command="jukebox train prior --config a.yaml \\\n  --steps 5",
        base_model="me/base",
        data=(
            TrainingData("a | b", licence="CC0-1.0", songs=1200, hours=80.5),
            TrainingData("set", repo_id="me/songs", link="javascript:alert(1)"),
        ),
        steps=1000,
        settings={"batch_size": 8},
        hardware="1 GPU",
        duration_seconds=5400,
        date="2026-11-22",
        versions={"torch": "2.13"},
        figures=(Figure("bits per code", 4.25, "jukebox evaluate -m `x`", "held out"),),
    )
    save_training_facts(folder / "prior_2", facts)
    assert load_training_facts(folder / "prior_2") == facts
    card = card_of(folder)
    for line in (
        "Started from `me/base`.",
        r"| a \| b | 1,200 | 80.5 | CC0-1.0 |",
        "| [set](https://huggingface.co/datasets/me/songs) |  |  |  |",
        "- 1,000 steps",
        "- 1.5 hours",
        "Settings: `batch_size` 8.",
        "jukebox train prior --config a.yaml --steps 5",
        "On held out, by `jukebox evaluate -m 'x'`:",
        "| bits per code | 4.25 |",
    ):
        assert line in card.text, line
    found = metadata(card)
    assert found["base_model"] == "me/base"
    assert found["base_model_relation"] == "finetune"
    assert found["datasets"] == ["me/songs"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"format_version": 2},
            "has format version 2, but this version of jukebox_hf reads up to 1",
        ),
        ({"format_version": 1, "step": 3}, "unknown setting 'step'. Did you mean 'steps'?"),
        ({"format_version": 1, "steps": -1}, "steps: expected a count"),
        ({"format_version": 1, "command": ["x"]}, "command: expected text"),
        ({"format_version": 1, "data": [{"songs": 1}]}, "data, 0: name is missing"),
        (
            {"format_version": 1, "figures": [{"name": "loss", "value": 1.0}]},
            "figures, 0: command is missing",
        ),
        (
            {"format_version": 1, "settings": {"a": [1]}},
            "settings, a: expected text or a whole number or a number",
        ),
    ],
)
def test_training_files_are_checked(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "training.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(message)):
        load_training_facts(tmp_path)
    assert load_training_facts(tmp_path / "nowhere") is None


def test_licences_are_written_as_the_hub_writes_them() -> None:
    assert card_licence("CC-BY-SA-4.0") == {"license": "cc-by-sa-4.0"}
    for licence in ("CC0-1.0", "our own terms", OPENAI_LICENCE):
        block = yaml.safe_dump(card_licence(licence))
        found = licence_in_card(f"---\n{block}---\n# Model")
        assert found is not None
        assert found.lower() == licence.lower()
    assert licence_in_card("# no metadata") is None
    assert licence_in_card("---\nlicense: [\n---\n") is None


def test_a_card_without_markers_keeps_all_its_text(model: Path) -> None:
    card = card_of(model)
    for existing in ("# Mine\n\nText.\n", "---\nlicense: mit\nfoo: [1, 2]\n---\n# Mine\n\nText.\n"):
        merged = card.merged_with(existing)
        assert text_outside(merged) == "# Mine\n\nText."
        assert merged.count(BEGIN) == merged.count(END) == 1
        assert card.merged_with(merged) == merged  # pushing again changes nothing
        found = yaml.safe_load(read_card(merged)[0])
        if "foo" in existing:
            assert found["foo"] == [1, 2]
            assert found["license"] == "mit"


@pytest.mark.parametrize(
    "metadata",
    [
        "language: no",
        "tags: [0123, 'yes']",
        "tags:\n  - 0123\n  - 1.10  # of mine",
        "tags:\n- 0123",
        "# mine\nlicense:   mit\nfoo: 0x10\ndate: 2020-01-01 # when\nlist: {a: no, b: 010}",
        'text: |\n  two\n  lines\nquoted: "no"\ntags: rock',
        "foo: &a [1, 2]\nbar: *a",
    ],
)
def test_metadata_that_somebody_wrote_stays_as_it_stands(model: Path, metadata: str) -> None:
    card = card_of(model)
    merged = card.merged_with(f"---\n{metadata}\n---\n# Mine\n")
    kept, _ = read_card(merged)
    for line in metadata.splitlines():
        if line == "tags: rock":
            assert "- rock\n" in kept
        elif line.startswith("tags: ["):
            assert line.rstrip("]") + ", jukebox, music" in kept
        else:
            assert line in kept.splitlines()
    written = yaml.load(kept, yaml.BaseLoader)
    assert written["library_name"] == "jukebox_hf"
    assert {"jukebox", "music"} <= set(written["tags"])
    assert card.merged_with(merged) == merged


def test_figures_are_metadata_too(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model", name="tiny")
    figures = (Figure("bits per code", 4.25, "jukebox evaluate", "me/songs"),)
    save_training_facts(folder / "prior_2", TrainingFacts(figures=figures))
    card = card_of(folder)
    (result,) = ModelCard(card.content).data.eval_results
    assert (result.metric_name, result.metric_value) == ("bits per code", 4.25)
    assert (result.dataset_name, result.dataset_type) == ("me/songs", "me/songs")
    two = (*figures, Figure("bits per code", 5.5, "jukebox evaluate", "12 songs of mine"))
    two += (Figure("bits per code", 6.5, "jukebox evaluate", "9 songs of hers"),)
    save_training_facts(folder / "prior_2", TrainingFacts(figures=two))
    said = [
        (each.dataset_name, each.metric_value)
        for each in ModelCard(card_of(folder).content).data.eval_results
    ]
    assert said == [(figure.dataset, figure.value) for figure in two]
    others = card.merged_with("---\nmodel-index:\n- name: mine\n  results: []\n---\n")
    assert "- name: mine" in others


def test_text_of_strangers_stays_text(tmp_path: Path) -> None:
    name = "x --> <script> # [a](b) `c` | d <!-- e"
    card = card_of(tiny_system(tmp_path / "model", name=name))
    assert "<script>" not in card.content
    assert card.content.count("<!--") == 2  # the markers
    assert code("a\x1b[2J `b`\n c") == "a [2J 'b' c"
    assert prose("*a*_b_") == r"\*a\*\_b\_"
    assert cell("a|b") == r"a\|b"


def test_values_are_cleaned_as_the_place_asks_where_they_are_shown() -> None:
    info = {**CODES, "model": "`d`", "fingerprint": "a*b\n# c"}
    text = make_card(codes_text(info, "me/*a* <b>_c")).text
    assert r"# \*a\* &lt;b&gt;\_c" in text
    assert "- Made by the VQ-VAE of `'d'`\n- Codebooks `a*b # c`\n" in text
    assert 'open_codes("me/*a* <b>_c")' in text
    assert clean(clean("*")) == r"\*"  # once


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": [7]},
        {"levels": None},
        {"levels": [1, "x"]},
        {"hop_lengths": None},
        {"hop_lengths": ["x", 0, -1]},
        {"sampling_rate": "x"},
        {"sampling_rate": 10**400},
        {"codebook_size": [], "model": {}, "fingerprint": 3},
    ],
)
def test_what_a_damaged_dataset_of_codes_does_not_tell_is_left_out(changes: Any) -> None:
    whole = make_card(codes_text(CODES, "me/codes")).text.splitlines()
    card = make_card(codes_text({**CODES, **changes}, "me/codes")).text.splitlines()
    assert "- Level 1: 250.0 codes per second of 8,000 Hz audio" in whole
    added = [line for line in card if line not in whole]
    assert [line for line in added if not re.search(r"codes_7|level=\d", line)] == []
    assert len(card) <= len(whole)


@pytest.mark.parametrize(
    "bad", ["![x](http://host/x.png)", "[x](//host)", "http://host", "www.host"]
)
def test_cards_show_no_picture_or_link_of_a_stranger(tmp_path: Path, bad: str) -> None:
    folder = tiny_system(tmp_path / "model", licence=bad)
    data = TrainingData(bad, licence=bad)
    figure = Figure(bad, 1.0, f"do {bad}", bad)
    training = TrainingFacts(bad, bad, (data,), 1, {bad: bad}, bad, 1.0, bad, {bad: bad}, (figure,))
    save_training_facts(folder / "prior_2", training)
    facts = gather_facts(System.open(folder))
    top = replace(facts.components["prior_2"], labels=LabelFacts(1, 1, "v3", (bad,), 8))
    facts = replace(facts, name=bad, components={**facts.components, "prior_2": top})
    info = {"model": bad, "fingerprint": bad, "precision": bad, "width": 1, "settings": {bad: bad}}
    cards = (
        system_text(replace(facts, model_notes={"lyrics": bad}), "me/model"),
        system_text(replace(facts, components={"prior_2": top}), "me/model"),
        adapter_text(AdapterFacts(1, 1, bad, None), tiny_prior_config(2), "me/a", licence=bad),
        codes_text({**CODES, **info}, "me/codes", licence=bad),
        features_text({**info, "model": {"name": bad, "level": bad}}, "me/features"),
    )
    text = "\n".join(make_card(card).text for card in cards)
    outside_of_code = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    links = re.findall(r"(?<!\\)\]\(.*?\)|https?://\S+|www\.\S+", outside_of_code)
    assert [link for link in links if "arxiv.org" not in link] == []


def test_numbers_beyond_every_use_are_refused_in_training_files(tmp_path: Path) -> None:
    for content in (
        {"data": [{"name": "a", "hours": 10**400}]},
        {"figures": [{"name": "a", "command": "b", "value": 10**400}]},
        {"steps": float("nan")},
    ):
        (tmp_path / "training.json").write_text(json.dumps({"format_version": 1, **content}))
        with pytest.raises(ValueError, match=r"training\.json.*: expected a.* number, found"):
            load_training_facts(tmp_path)
