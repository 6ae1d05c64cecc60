// The form for editing: parts of takes one after another become a new piece.
//
// What is typed is a draft, which outlives the form: one may open other pieces, choose stretches there
// and add them. It is kept in this tab, so that a reload does not lose it.

import { partPath } from "./api.js";
import { byId, clock, el, fill, secondsOf, span } from "./dom.js";
import { PlannedForm } from "./planned.js";

const KEPT = "jukebox-studio-edit"; // the draft's name in the tab's storage
const SNAP = "0.05";
const LONGEST_HEARD = 60; // seconds that the server cuts out of a take at once
const MOST_TIMES = 20;
const DOINGS = [
  ["cut", "Cut it out"], ["keep", "Keep only it"], ["repeat", "Repeat it"], ["move", "Move it"],
  ["apart", "Take the piece apart there"],
];
const USABLE = ["done", "sketch", "stopped"];

export class EditForm extends PlannedForm {
  constructor(...given) {
    super(...given);
    this.draft = remembered(); // {piece, id, take, stretch, parts, snap, fade, timing, name}
    this.audio = null;
  }

  /** Begin with something done to a stretch `[begin, end]` of a take, or with all of the take. */
  begin(state, piece, take, { stretch = null, doing = "apart", join = false }) {
    const whole = { piece: piece.name, id: piece.id, take: take.number, from: "", to: "" };
    this.draft = { piece: piece.name, id: piece.id, take: take.number, seconds: take.seconds, stretch: null, parts: [whole], snap: SNAP, fade: "", timing: "", name: "" };
    if (stretch) {
      const [from, to] = stretch.map((seconds) => clock(seconds, 3));
      this.draft.stretch = { from, to, doing, times: "2", where: "0:00" };
      this.draft.parts = this.partsOfStretch();
    }
    if (join) {
      if (stretch) Object.assign(whole, { from: this.draft.stretch.from, to: this.draft.stretch.to });
      const other = usable(state).find((one) => one.name !== piece.name);
      Object.assign(this.draft, { stretch: null, parts: [whole, other ? partOf(other) : { ...whole }] });
    }
    this.show(state);
    if (join) byId("f-piece-1").focus();
  }

  /** Add a stretch, or all, of a take to the draft. */
  add(state, piece, number, stretch) {
    const [from, to] = stretch ? stretch.map((seconds) => clock(seconds, 3)) : ["", ""];
    this.draft.parts.push({ piece: piece.name, id: piece.id, take: number, from, to });
    this.draft.stretch = null;
    this.show(state);
    byId(`f-from-${this.draft.parts.length - 1}`).focus();
  }

  forget() {
    this.draft = null;
    keep(null);
  }

  close() {
    super.close();
    this.hush();
  }

  /** What the server tells meanwhile: pieces come and go, and get other names. */
  update(state) {
    this.state = state;
    const { draft } = this;
    if (!draft) return;
    const before = JSON.stringify(draft);
    for (const one of [draft, ...draft.parts]) one.piece = nameNow(one, state);
    if (JSON.stringify(draft) !== before) keep(draft);
    if (!this.isShown) return;
    byId("form-title").textContent = `Edit ${draft.piece}`;
    for (const [index, part] of draft.parts.entries()) this.offer(part, index);
    const told = this.toldOfParts();
    if (told === this.told) return;
    this.told = told;
    this.showLengths();
    this.planSoon();
  }

  /** What is known of the pieces that parts are taken from. */
  toldOfParts() {
    return JSON.stringify(this.draft.parts.map(({ piece }) => [piece, this.takesOf(piece)]));
  }

  show(state) {
    this.state = state;
    const { draft } = this;
    this.fill("Put together",
      el("h1", { id: "form-title", tabindex: "-1" }, `Edit ${draft.piece}`),
      el("p", { class: "facts" }, "Parts one after another become a new piece. Each sounds as it does now, up to where it meets the next; the pieces that they are taken from stay as they are."),
      draft.stretch ? this.stretchFields() : null,
      el("section", { "aria-labelledby": "parts-title" },
        el("h2", { id: "parts-title" }, "Parts, in order"),
        el("div", { class: "strip", id: "strip", "aria-hidden": "true" }),
        el("ol", { class: "parts", id: "parts" }),
        el("div", { class: "row" },
          el("button", { type: "button", id: "add-part", onclick: () => this.addPart() }, "Add a part"),
          el("small", {}, "Or open another piece, choose a stretch in its picture, and press “Add to the edit” there."))),
      el("fieldset", { id: "joins" },
        el("legend", {}, "Where parts meet"),
        el("div", { class: "pair" },
          this.kept("snap", "Move by up to, in seconds", decimal(), "To where both sides are most alike, so that the step is heard least. 0 leaves it as it is."),
          this.kept("fade", "Fade, in seconds", decimal("0.03"), "For so long both sides are mixed."))),
      el("details", { class: "more" },
        el("summary", {}, "More settings"),
        el("div", { class: "pair" },
          this.kept("name", "Name of the piece", el("input", { autocomplete: "off", placeholder: "song-1, song-2, …" }), "Letters, digits, - and _. It becomes a folder."),
          this.kept("timing", "Its time in the song", el("select", {},
            el("option", { value: "" }, "Of one part as it was, else new"),
            el("option", { value: "keep" }, "That of its first part"),
            el("option", { value: "new" }, "New: it begins a song")),
          "How far into a song it is counts when you go on from it."))));
    this.showParts();
    byId("form-title").focus();
    this.planSoon();
  }

  // --- the stretch, and what is done with it ---

  stretchFields() {
    const { stretch, take } = this.draft;
    const set = (name) => ({ oninput: (event) => { stretch[name] = event.target.value; this.followStretch(); } });
    return el("fieldset", { id: "stretch" },
      el("legend", {}, `A stretch of take ${take}`),
      el("div", { class: "pair" },
        this.field("stretch-from", "From", decimal("", { value: stretch.from, ...set("from") }), "Seconds, or m:ss."),
        this.field("stretch-to", "To", decimal("", { value: stretch.to, ...set("to") }))),
      el("div", { class: "pair" },
        this.field("doing", "What becomes of it", el("select", set("doing"),
          ...DOINGS.map(([value, label]) => el("option", { value, selected: value === stretch.doing }, label)))),
        el("div", { id: "doing-repeat" }, this.field("times", "How often it is there", el("input", { type: "number", min: "2", max: String(MOST_TIMES), value: stretch.times, ...set("times") }))),
        el("div", { id: "doing-move" }, this.field("where", "Where it goes", decimal("", { value: stretch.where, ...set("where") }), "A moment of the take as it is now."))),
      el("small", {}, "A change here writes the list of parts anew."));
  }

  followStretch() {
    this.draft.parts = this.partsOfStretch();
    this.showParts();
  }

  /** The take, taken apart at the stretch and put in order. */
  partsOfStretch() {
    const { piece, id, take, seconds, stretch } = this.draft;
    const bounds = [stretch.from, stretch.to, ...(stretch.doing === "move" ? [stretch.where] : [])];
    const wrong = bounds.find((text) => text.trim() && secondsOf(text) === null);
    if (wrong !== undefined) return [{ piece, id, take, from: wrong, to: "" }]; // the server says what is wrong with it
    const begin = secondsOf(stretch.from) ?? 0;
    const end = Math.max(begin, Math.min(secondsOf(stretch.to) ?? seconds, seconds));
    const atEnd = (at) => at >= seconds - 0.0005;
    const part = (from, to) => (to - from < 0.0005 ? [] : [{ piece, id, take, from: from ? clock(from, 3) : "", to: atEnd(to) ? "" : clock(to, 3) }]);
    const [before, own, after] = [part(0, begin), part(begin, end), part(end, seconds)];
    const times = Math.min(Math.max(Math.round(Number(stretch.times)) || 1, 1), MOST_TIMES);
    const where = Math.min(secondsOf(stretch.where) ?? begin, seconds);
    if (stretch.doing === "cut") return [...before, ...after];
    if (stretch.doing === "keep") return own;
    if (stretch.doing === "repeat") return [...before, ...Array.from({ length: times }, () => own.map((one) => ({ ...one }))).flat(), ...after];
    if (stretch.doing === "move" && where < begin) return [...part(0, where), ...own, ...part(where, begin), ...after];
    if (stretch.doing === "move" && where > end) return [...before, ...part(end, where), ...own, ...part(where, seconds)];
    return [...before, ...own, ...after];
  }

  // --- the list of parts ---

  showParts() {
    const { draft } = this;
    this.hush();
    keep(draft);
    fill(byId("parts"), ...draft.parts.map((part, index) => this.row(part, index)));
    for (const [index, part] of draft.parts.entries()) this.offer(part, index);
    this.told = this.toldOfParts();
    if (byId("stretch")) {
      for (const doing of ["repeat", "move"]) byId(`doing-${doing}`).hidden = draft.stretch.doing !== doing;
    }
    this.showLengths();
  }

  /** What follows from the bounds of parts: their lengths, and the strip. */
  showLengths() {
    const { parts } = this.draft;
    keep(this.draft);
    const names = [...new Set(parts.map((part) => part.piece))];
    byId("joins").hidden = parts.length < 2;
    fill(byId("strip"), ...parts.map((part, index) => {
      const block = el("span", { class: `tone-${names.indexOf(part.piece) % 3}` }, String(index + 1));
      block.style.flexGrow = String(this.lengthOf(part) || 0.01);
      return block;
    }));
    for (const [index, part] of parts.entries()) {
      const length = this.lengthOf(part);
      byId(`length-${index}`).textContent = length === null ? "" : `${span(length)} long`;
    }
  }

  /** Seconds of a part; null where its bounds make no sense. */
  lengthOf({ piece, take, from, to }) {
    const begin = from.trim() ? secondsOf(from) : 0;
    const end = to.trim() ? secondsOf(to) : this.takesOf(piece).find(([number]) => number === take)?.[1] ?? null;
    return begin === null || end === null || end <= begin ? null : end - begin;
  }

  /** Numbers and lengths of the takes of a piece. */
  takesOf(name) {
    return this.state.pieces.find((one) => one.name === name)?.lengths || [];
  }

  /** Fill in what a part can be of; not while somebody chooses. */
  offer(part, index) {
    const names = usable(this.state).map((one) => one.name);
    if (!names.includes(part.piece)) names.push(part.piece);
    const numbers = this.takesOf(part.piece).map(([number]) => number);
    const choices = {
      piece: names.map((name) => [name, name]),
      take: (numbers.length ? numbers : [part.take]).map((number) => [String(number), `Take ${number}`]),
    };
    for (const [name, offered] of Object.entries(choices)) {
      const select = byId(`f-${name}-${index}`);
      const key = JSON.stringify([offered, part[name]]);
      if (select.dataset.key === key || (select.options.length && select === document.activeElement)) continue;
      select.dataset.key = key;
      fill(select, ...offered.map(([value, label]) => el("option", { value, selected: value === String(part[name]) }, label)));
    }
  }

  row(part, index) {
    const onblur = () => byId(`f-take-${index}`) && this.offer(part, index);
    const write = (name) => ({ oninput: (event) => { part[name] = event.target.value; this.showLengths(); } });
    const choosePiece = (event) => {
      const chosen = this.state.pieces.find((one) => one.name === event.target.value);
      Object.assign(part, partOf(chosen));
      this.showParts();
    };
    const chooseTake = (event) => { part.take = Number(event.target.value); this.showLengths(); };
    const last = this.draft.parts.length - 1;
    const button = (name, label, act, disabled = false) => el("button", { type: "button", id: `${name}-${index}`, disabled, onclick: act }, label);
    return el("li", {}, el("fieldset", { class: "part" },
      el("legend", {}, `Part ${index + 1}`),
      el("div", { class: "bounds" },
        this.field(`piece-${index}`, "Piece", el("select", { oninput: choosePiece, onblur })),
        this.field(`take-${index}`, "Take", el("select", { oninput: chooseTake, onblur })),
        this.field(`from-${index}`, "From", decimal("its beginning", { value: part.from, ...write("from") })),
        this.field(`to-${index}`, "To", decimal("its end", { value: part.to, ...write("to") }))),
      el("div", { class: "row" },
        button("hear", "Hear", () => this.hear(part, index)),
        button("earlier", "Earlier", () => this.move(index, -1), index === 0),
        button("later", "Later", () => this.move(index, 1), index === last),
        button("twice", "Repeat", () => this.insert(index + 1, { ...part })),
        button("out", "Take out", () => this.takeOut(index), last === 0),
        el("span", { class: "facts", id: `length-${index}` }))));
  }

  /** Another order, or other parts: the list no longer follows the stretch. */
  change(parts, focus) {
    this.draft.parts = parts;
    this.showParts();
    byId(focus)?.focus();
    this.planSoon();
  }

  move(index, by) {
    const parts = [...this.draft.parts];
    [parts[index], parts[index + by]] = [parts[index + by], parts[index]];
    const at = index + by;
    const name = by < 0 ? (at === 0 ? "later" : "earlier") : at === parts.length - 1 ? "earlier" : "later";
    this.change(parts, `${name}-${at}`);
  }

  insert(index, part) {
    this.change(this.draft.parts.toSpliced(index, 0, part), `twice-${index}`);
  }

  takeOut(index) {
    const parts = this.draft.parts.toSpliced(index, 1);
    this.change(parts, `f-from-${Math.min(index, parts.length - 1)}`);
  }

  addPart() {
    const last = this.draft.parts.at(-1);
    const parts = [...this.draft.parts, { ...last, from: "", to: "" }];
    this.change(parts, `f-piece-${parts.length - 1}`);
  }

  // --- hearing a part ---

  async hear(part, index) {
    const wasThis = this.audio?.index === index;
    this.hush();
    const length = this.lengthOf(part);
    if (wasThis) return;
    if (length === null) {
      this.wrong(new Error(`There is nothing to hear of part ${index + 1}: it needs a piece that is here, and ends after it begins.`));
      return;
    }
    const begin = secondsOf(part.from || "0");
    const audio = new Audio(partPath(part.piece, part.take, "edit", begin, Math.min(length, LONGEST_HEARD)));
    this.audio = { index, audio };
    byId(`hear-${index}`).textContent = "Stop";
    audio.addEventListener("ended", () => this.audio?.audio === audio && this.hush());
    try {
      await audio.play();
    } catch {
      if (this.audio?.audio !== audio) return; // stopped before it began
      this.hush();
      this.wrong(new Error(`There is nothing to hear of ${part.piece} there.`));
    }
  }

  hush() {
    if (!this.audio) return;
    this.audio.audio.pause();
    const button = byId(`hear-${this.audio.index}`);
    if (button) button.textContent = "Hear";
    this.audio = null;
  }

  // --- what is asked for ---

  request() {
    const { parts, snap, fade, timing, name } = this.draft;
    const given = (text) => text.trim() || null;
    return {
      verb: "edit",
      name: given(name),
      snap_seconds: given(snap),
      fade_seconds: given(fade),
      timing: given(timing),
      parts: parts.map(({ piece, take, from, to }) => ({ piece, take, from: given(from), to: given(to) })),
    };
  }

  planText(plan) {
    const count = plan.joins.length + 1; // parts that follow each other are one
    const what = count === 1 ? "one part" : `${count} parts`;
    return `${span(plan.music_seconds)} of music from ${what}. Nothing is made anew, so it takes a moment.`;
  }

  /** A field whose text is part of the draft. */
  kept(name, label, input, hint) {
    input.value = this.draft[name];
    input.addEventListener("input", () => { this.draft[name] = input.value; keep(this.draft); });
    return this.field(name, label, input, hint);
  }
}

const decimal = (placeholder = "", extra = {}) => el("input", { inputmode: "decimal", autocomplete: "off", placeholder, ...extra });
const usable = (state) => state.pieces.filter((one) => USABLE.includes(one.state) && one.lengths?.length);
const partOf = (piece) => ({ piece: piece.name, id: piece.id, take: piece.kept?.[0] ?? piece.lengths[0][0], from: "", to: "" });

/** The name that a piece has now: that of the same id, if the one by this name is another or none. */
function nameNow({ piece, id }, { pieces }) {
  if (!id || pieces.some((one) => one.name === piece && one.id === id)) return piece;
  return pieces.find((one) => one.id === id)?.name ?? piece;
}

function keep(draft) {
  try {
    if (draft) sessionStorage.setItem(KEPT, JSON.stringify(draft));
    else sessionStorage.removeItem(KEPT);
  } catch {
    // a page inside another page may have no storage: then a reload forgets it
  }
}

function remembered() {
  try {
    const draft = JSON.parse(sessionStorage.getItem(KEPT));
    return draft?.parts?.length ? draft : null;
  } catch {
    return null;
  }
}
