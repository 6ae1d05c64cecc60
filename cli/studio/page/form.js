// The form for a new piece, for going on from one, for making a stretch again and for finishing takes.

import { get, piecePath, post } from "./api.js";
import { byId, clock, el, fill, size, span } from "./dom.js";
import { PlannedForm } from "./planned.js";

const LEVEL_NAMES = { sketch: "Sketch", middle: "Middle layer", fine: "Finest layer" };

/** What a level is called on the page. */
export function levelName(level, top) {
  if (level === top) return LEVEL_NAMES.sketch;
  return level === 0 ? LEVEL_NAMES.fine : LEVEL_NAMES.middle;
}

export class RequestForm extends PlannedForm {
  constructor(...given) {
    super(...given);
    this.models = new Map();
  }

  get listens() {
    return this.wanted.verb !== "upsample";
  }

  forget() {
    this.upload = null;
  }

  /** A new piece; `given` fills in fields, for "more takes". */
  async showNew(state, given = {}) {
    await this.show({ verb: "make", title: "New piece", state, given });
  }

  async showContinue(state, piece, numbers, seconds) {
    const which = numbers.length === 1 ? `take ${numbers[0]}` : `takes ${numbers.join(", ")}`;
    const place = seconds === null ? "its end" : clock(seconds);
    await this.show({
      verb: "continue",
      title: `Go on from ${piece.name}`,
      intro: `New music after ${which}, from ${place} on. What comes before stays as it is; ${piece.name} itself is not changed.`,
      state,
      source: piece.name,
      numbers,
      fromSeconds: seconds,
      isSketch: piece.to_level > 0,
      given: {},
    });
  }

  async showFinish(state, piece, numbers) {
    const which = numbers.length === 1 ? `Take ${numbers[0]}` : `Takes ${numbers.join(", ")}`;
    await this.show({
      verb: "upsample",
      title: `Finish ${piece.name}`,
      intro: `${which} of the sketch get the finer layers, which make the sound clear. The melody stays.`,
      state,
      source: piece.name,
      numbers,
      given: {},
    });
  }

  async showInfill(state, piece, number, [begin, end]) {
    await this.show({
      verb: "infill",
      title: `Make a stretch of ${piece.name} again`,
      intro: `Take ${number}. What is before and after the stretch stays as it is, and the new music leads from one to the other. It becomes a new piece.`,
      state,
      source: piece.name,
      numbers: [number],
      given: { from: clock(begin, 3), to: clock(end, 3) },
    });
  }

  async showInsert(state, piece, number, seconds, length = 4) {
    await this.show({
      verb: "infill",
      inserts: true,
      title: `Put new music into ${piece.name}`,
      intro: `Take ${number}. The piece opens at that moment, and the new music leads from what is before to what comes after: a bridge, or at 0:00 an intro. It becomes a new piece.`,
      state,
      source: piece.name,
      numbers: [number],
      given: { from: clock(seconds, 3), insert: String(Number(length.toFixed(3))) },
    });
  }

  async show(wanted) {
    this.wanted = wanted;
    this.upload = wanted.given.primer || null;
    this.build();
    byId("form-title").focus();
    await this.describe();
    this.planSoon();
  }

  build() {
    const { wanted } = this;
    const { verb, state, given } = wanted;
    const isNew = verb === "make";
    const parts = [
      el("h1", { id: "form-title", tabindex: "-1" }, wanted.title),
      wanted.intro ? el("p", { class: "facts" }, wanted.intro) : null,
      el("p", { class: "facts", id: "model-facts" }),
    ];
    if (isNew && state.models.length > 1) {
      parts.push(
        this.field("model", "Model", el("select", {}, ...state.models.map((name, index) =>
          el("option", { value: String(index) }, name)))),
      );
    }
    const decimal = (extra = {}) => el("input", { inputmode: "decimal", autocomplete: "off", ...extra });
    const count = (value, most = state.limits.takes) => el("input", { type: "number", min: "1", max: String(most), value: String(value) });
    if (verb === "infill") {
      parts.push(
        el("div", { class: "pair" },
          this.field("from", wanted.inserts ? "Where" : "From", decimal(), "Seconds, or m:ss."),
          wanted.inserts
            ? this.field("insert", "How much, in seconds", decimal(), `Up to ${state.limits.seconds}.`)
            : this.field("to", "To", decimal())),
        el("div", { class: "pair" },
          this.field("candidates", "Ways to try", count(8, 64), "The one is taken that fits best what follows. More take longer and fit better."),
          this.field("takes", "Versions to hear", count(1), "So many of the best ones.")));
    }
    if (verb === "upsample") {
      parts.push(this.field("renders", "Ways to finish each take", count(1), "The melody stays, the fine sound differs. Three of them also make wide stereo; see Export."));
    }
    if (verb !== "upsample") {
      const same = isNew ? "any" : "as before";
      parts.push(
        el("div", { class: "pair" },
          this.field("genre", "Genre", el("input", { list: "genres", autocomplete: "off", placeholder: same, maxlength: "200" }), "Choose one the model knows, or type: near names are found."),
          this.field("artist", "Artist", el("input", { list: "artists", autocomplete: "off", placeholder: same, maxlength: "200" }), "In whose style; most models know some."),
        ),
        this.field("lyrics", "Lyrics", el("textarea", { rows: "5", placeholder: isNew ? "Words to sing, if the model can sing" : "as before" }), null),
        el("div", { class: "field" },
          el("label", { for: "f-lyrics-file" }, "Or take lyrics from a text or .lrc file"),
          el("input", { id: "f-lyrics-file", type: "file", accept: ".txt,.lrc,text/plain", onchange: (event) => this.readLyrics(event.target) }),
        ),
        verb === "infill" ? null : el("div", { class: "pair" },
          this.field("seconds", isNew ? "Length in seconds" : "New music, in seconds", decimal({ value: isNew ? "" : "5" }), `Up to ${state.limits.seconds} at a time; you can go on from it later.`),
          this.field("takes", isNew ? "Takes" : "Different ways to go on", count(1), "Each one is another try; listen, and keep the best."),
        ),
        verb === "infill" ? null : el("div", { class: "check" },
          el("input", { id: "f-sketch", type: "checkbox", "aria-describedby": "h-sketch", checked: Boolean(wanted.isSketch || given.sketch) }),
          el("div", {}, el("label", { for: "f-sketch" }, "Sketch first"),
            el("small", { id: "h-sketch" }, "Makes only the rough layer, which is quick. You hear the melody as if through a wall, keep the good takes, and finish those.")),
        ),
      );
    }
    if (isNew) {
      parts.push(
        el("fieldset", {},
          el("legend", {}, "Begin with a sound file (optional)"),
          el("div", { class: "field" },
            el("label", { for: "f-primer" }, "File: wav, flac, ogg, opus or mp3"),
            el("input", { id: "f-primer", type: "file", accept: ".wav,.flac,.ogg,.opus,.mp3,audio/*", onchange: (event) => this.sendFile(event.target) }),
            el("small", { id: "primer-told" }, this.upload ? "The file is here." : "The piece begins with it and goes on from its end."),
          ),
          el("div", { class: "pair" },
            this.field("primer-start", "From", el("input", { inputmode: "decimal", autocomplete: "off", placeholder: "0:00" })),
            this.field("primer-end", "To", el("input", { inputmode: "decimal", autocomplete: "off", placeholder: "its end" })),
          ),
        ),
      );
    }
    parts.push(el("datalist", { id: "genres" }), el("datalist", { id: "artists" }), this.moreSettings(verb));
    this.fill({ upsample: "Finish", infill: wanted.inserts ? "Put it in" : "Make it again" }[verb] || "Make", ...parts);
    byId("f-model")?.addEventListener("change", () => this.describe());
    for (const [name, value] of Object.entries(given)) {
      const input = byId(`f-${name}`);
      if (input && input.type !== "checkbox" && input.type !== "file" && value !== null) input.value = value;
    }
  }

  moreSettings(verb) {
    const short = (name, label, hint, attributes = {}) =>
      this.field(name, label, el("input", { inputmode: "decimal", autocomplete: "off", placeholder: "the model's", ...attributes }), hint);
    return el("details", { class: "more" },
      el("summary", {}, "More settings"),
      el("div", { class: "pair" },
        short("name", "Name of the piece", "Letters, digits, - and _. It becomes a folder.", { inputmode: "text", placeholder: "song-1, song-2, …" }),
        short("seed", "Seed", "The same seed and settings make the same music.", { placeholder: verb === "upsample" ? "as before" : "a new one" }),
        ["upsample", "infill"].includes(verb) ? null : short("total_seconds", "Length of the whole song", "Tells the model how near the end is. Seconds or m:ss."),
        ["upsample", "infill"].includes(verb) ? null : short("offset_seconds", "Where in that song it begins", null, { placeholder: "0:00" }),
      ),
      el("fieldset", { id: "names" }, el("legend", {}, "Genre and artist of single layers"), el("p", { class: "facts" }, "The sketch makes the melody, the finer layers its sound: give a layer another name than the piece has.")),
      el("fieldset", { id: "levels" }, el("legend", {}, "How freely each layer is made"), el("p", { class: "facts" }, "Temperature below 1 is safer, above 1 wilder. Top-p leaves out the unlikely. Chains make a layer in parallel: quicker, with joins. Guidance above 1 follows genre and artist closer.")),
    );
  }

  /** What is known of the model: that of the piece, or of a new one the chosen one. */
  async model() {
    const { source } = this.wanted;
    const address = source ? piecePath(source, "model") : `api/models/${Number(byId("f-model")?.value || 0)}`;
    if (!this.models.has(address)) this.models.set(address, await get(address));
    return this.models.get(address);
  }

  /** Bring in what the model knows. */
  async describe() {
    const { wanted } = this;
    let model;
    try {
      model = await this.model();
    } catch (error) {
      this.wrong(error);
      return;
    }
    if (!byId("request") || wanted !== this.wanted) return;
    byId("model-facts").textContent = `Made with ${model.name}${model.licence ? `, licence ${model.licence}` : ""}.`;
    const genres = [...model.genres, ...Object.keys(model.aliases)];
    fill(byId("genres"), ...genres.map((name) => el("option", { value: name })));
    fill(byId("artists"), ...model.artists.map((name) => el("option", { value: name })));
    if (byId("f-lyrics")) {
      const lyrics = byId("f-lyrics");
      if (!model.lyrics) lyrics.placeholder = "This model knows no words; lyrics change nothing.";
      if (this.wanted.verb === "make" && model.seconds) byId("f-seconds").placeholder = String(model.seconds);
    }
    const top = Math.max(...model.levels);
    const rows = [...model.levels].reverse().map((level) =>
      el("div", { class: "pair" },
        ...[["temperature", "temperature"], ["top_p", "top-p"], ["chains", "chains"], ["guidance", "guidance"]].map(([name, label]) =>
          this.field(`${name}-${level}`, `${levelName(level, top)}: ${label}`, el("input", { inputmode: "decimal", autocomplete: "off", placeholder: "the model's", "data-setting": name, "data-level": String(level) })))));
    const names = [...model.levels].reverse().map((level) =>
      el("div", { class: "pair" },
        ...["genre", "artist"].map((name) =>
          this.field(`${name}-${level}`, `${levelName(level, top)}: ${name}`, el("input", { list: `${name}s`, autocomplete: "off", placeholder: "as the piece", maxlength: "200", "data-name": name, "data-level": String(level) })))));
    for (const [id, made] of [["levels", rows], ["names", names]]) byId(id).replaceChildren(...[...byId(id).children].slice(0, 2), ...made);
  }

  request() {
    const { wanted } = this;
    const text = (name) => byId(`f-${name}`)?.value.trim() || null;
    const levels = {};
    for (const input of this.main.querySelectorAll("[data-setting]")) {
      if (input.value.trim()) (levels[input.dataset.setting] ||= {})[input.dataset.level] = input.value.trim();
    }
    const names = {};
    for (const input of this.main.querySelectorAll("[data-name]")) {
      if (input.value.trim()) (names[input.dataset.name] ||= {})[input.dataset.level] = input.value.trim();
    }
    const number = (name) => Number(text(name) || 1);
    const request = { verb: wanted.verb, name: text("name"), seed: text("seed"), levels, names };
    if (wanted.verb === "upsample") request.renders = number("renders");
    else {
      Object.assign(request, {
        genre: text("genre"),
        artist: text("artist"),
        lyrics: byId("f-lyrics").value.trim() ? byId("f-lyrics").value : null,
        takes: number("takes"),
      });
    }
    if (wanted.verb === "infill") {
      const end = wanted.inserts ? { insert_seconds: text("insert") } : { to_seconds: text("to") };
      Object.assign(request, { from_seconds: text("from"), candidates: number("candidates"), ...end });
    } else if (wanted.verb !== "upsample") {
      Object.assign(request, {
        seconds: text("seconds"),
        sketch: byId("f-sketch").checked,
        total_seconds: text("total_seconds"),
        offset_seconds: text("offset_seconds"),
      });
    }
    if (wanted.verb === "make") {
      request.model = Number(byId("f-model")?.value || 0);
      if (this.upload) request.primer = { file: this.upload, start: text("primer-start"), end: text("primer-end") };
    } else {
      Object.assign(request, { source: wanted.source, numbers: wanted.numbers });
      if (wanted.verb === "continue") request.from_seconds = wanted.fromSeconds;
    }
    return request;
  }

  async readLyrics(input) {
    const [file] = input.files;
    if (!file) return;
    if (file.size > 50_000) {
      this.wrong(new Error(`${file.name} is too long for lyrics`));
      return;
    }
    byId("f-lyrics").value = await file.text();
    this.planSoon();
  }

  async sendFile(input) {
    const [file] = input.files;
    this.upload = null;
    const told = byId("primer-told");
    if (!file) {
      told.textContent = "The piece begins with it and goes on from its end.";
      this.planSoon();
      return;
    }
    if (file.size > this.wanted.state.limits.upload_bytes) {
      this.wrong(new Error(`${file.name} is larger than ${size(this.wanted.state.limits.upload_bytes)}, which is the most that is taken`));
      return;
    }
    told.textContent = `Sending ${file.name} …`;
    try {
      const found = await post("api/upload", file);
      this.upload = found.file;
      told.textContent = `${file.name}: ${span(found.seconds)} long.`;
      this.planSoon();
    } catch (error) {
      told.textContent = "The file was not taken.";
      this.wrong(error);
    }
  }
}
