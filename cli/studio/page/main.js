// The page: asks the server for its state, shows it, and turns clicks and keys into requests.

import { Away, get, piecePath, post } from "./api.js";
import { byId, el, fill, lasting } from "./dom.js";
import { EditForm } from "./edit.js";
import { RequestForm } from "./form.js";
import { PieceView } from "./piece.js";
import { Player } from "./player.js";
import { Side, layerName, stateName } from "./side.js";

const QUICK = 1000; // milliseconds between questions while something is made
const CALM = 5000;
const ROOM = "jukebox-studio-room"; // the name in the browser's storage of where a visitor was last
const SPOKEN_EVERY = 5000; // the live region speaks at most this often
const FORMATS = [["flac", "FLAC: exact, for editing"], ["wav", "WAV: exact, for every program"], ["mp3", "MP3: small, for sharing"], ["ogg", "Ogg: small"], ["codes", "Codes: for jukebox on the command line"]];

const player = new Player();
let state = null;
let wish = null; // a new piece that was asked for before the server had told anything
let screen = "welcome"; // welcome, form or piece
let timer = 0;
let away = false;
let spokenAt = 0;
let spoken = "";

// --- screens ---

const after = { onMade: (name, { listen }) => open(name, { listen }), onCancel: () => leaveForm(), onAway: () => setAway(true) };
const form = new RequestForm(byId("main"), player, after);
const edit = new EditForm(byId("main"), player, after);

const view = new PieceView(byId("main"), player, {
  isKeeping: false,
  open: (name) => open(name),
  stop: (name) => act(() => post(piecePath(name, "stop"))),
  goOn: (name) => { player.unlock(); view.listen = true; act(() => post(piecePath(name, "go-on"))); },
  keep: (number, wanted) => keep(number, wanted),
  continueFrom: (piece, numbers, seconds) => showForm(() => form.showContinue(state, piece, numbers, seconds)),
  finish: (piece, numbers) => showForm(() => form.showFinish(state, piece, numbers)),
  infill: (piece, number, stretch) => showForm(() => form.showInfill(state, piece, number, stretch)),
  insert: (piece, number, seconds) => showForm(() => form.showInsert(state, piece, number, seconds)),
  edit: (piece, take, how) => showForm(() => edit.begin(state, piece, take, how)),
  draft: () => edit.draft,
  addToEdit: (piece, number, stretch) => showForm(() => edit.add(state, piece, number, stretch)),
  backToEdit: () => showForm(() => edit.show(state)),
  dropEdit: () => { edit.forget(); view.showActs(); },
  more: (piece) => moreTakes(piece),
  export: (piece, numbers, which) => askExport(piece, numbers, which),
  download: (name) => act(async () => fetchFile(await post(piecePath(name, "download")))),
  rename: (name) => askName(name),
  remove: (name) => remove(name),
});

const side = new Side({
  onOpen: (name) => open(name),
  onStop: (name) => act(() => post(piecePath(name, "stop"))),
  onGoOn: (name) => act(() => post(piecePath(name, "go-on"))),
  onRestore: (name) => act(() => post(`api/removed/${encodeURIComponent(name)}/restore`)),
});

/** Open a piece: its name goes into the address, so that a reload comes back to it. */
function open(name, { listen = false } = {}) {
  closeForms();
  screen = "piece";
  view.open(name, { listen });
  if (addressed() !== name) location.hash = encodeURIComponent(name);
  closeSide();
  fill(byId("main"), el("p", {}, "…"));
  ask(true).then(() => byId("piece-title")?.focus({ preventScroll: true }));
}

/** The piece that the address names; empty for none, and for what is no name. */
function addressed() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function closeForms() {
  for (const one of [form, edit]) one.close();
}

function showForm(show) {
  closeForms();
  screen = "form";
  view.close();
  closeSide();
  show();
  enable();
}

function showNew(given = {}) {
  if (state) showForm(() => form.showNew(state, given));
  else wish = given;
}

function leaveForm() {
  const name = addressed();
  if (name) open(name);
  else showWelcome();
}

function showWelcome() {
  closeForms();
  screen = "welcome";
  fill(byId("main"),
    el("div", { class: "welcome" },
      el("h1", {}, "Make music by choosing"),
      el("p", { class: "facts" }, "A model makes music from a genre, an artist and lyrics. You listen, keep what is good, and go on from there."),
      el("ol", {},
        el("li", {}, "Make a new piece, with a few takes. You hear it while it grows, first rough, then finer."),
        el("li", {}, "Keep the takes you like."),
        el("li", {}, "Continue one from the moment before it went wrong, as often as you like; every try is a piece of its own."),
        el("li", {}, "Mend what is nearly right: drag across the picture, and make that stretch again, or put new music in."),
        el("li", {}, "Edit: cut a stretch out, move or repeat it, and join pieces."),
        el("li", {}, "Finish what began as a sketch, and export it.")),
      el("p", {}, el("button", { type: "button", class: "primary", id: "first-piece", onclick: () => showNew() }, "New piece"))));
}

async function moreTakes(piece) {
  const take = view.take();
  const from = piece.goes_on_from;
  if (from && from.action === "continue" && piece.parent) {
    showForm(() => form.showContinue(state, { name: piece.parent, to_level: piece.to_level }, [...new Set(from.takes)], from.from_seconds));
    return;
  }
  if (from && from.action === "infill" && piece.parent && from.to_seconds !== null) {
    const [number] = from.takes;
    const length = state.pieces.find((one) => one.name === piece.parent)?.lengths.find(([one]) => one === number)?.[1] ?? piece.seconds;
    const source = { name: piece.parent };
    if (piece.seconds > length + 0.001) showForm(() => form.showInsert(state, source, number, from.from_seconds, from.to_seconds - from.from_seconds));
    else showForm(() => form.showInfill(state, source, number, [from.from_seconds, from.to_seconds]));
    return;
  }
  const model = await get(piecePath(piece.name, "model")).then((one) => one.index, () => null);
  showNew({
    model: model === null ? null : String(model),
    genre: piece.genre, artist: piece.artist, lyrics: take?.lyrics || null,
    seconds: String(piece.seconds), sketch: piece.to_level > 0, takes: "2",
  });
}

// --- asking ---

/** Ask for the state now, and again after a while. */
async function ask(fresh = false) {
  clearTimeout(timer);
  const name = screen === "piece" ? view.name : null;
  const query = new URLSearchParams();
  if (name) query.set("piece", name);
  if (state && !fresh) query.set("since", state.version);
  try {
    const answer = await get(`api/state?${query}`);
    setAway(false);
    if (name === (screen === "piece" ? view.name : null)) {
      if (!answer.unchanged) take(answer);
      else if (fresh) take(state);
    }
  } catch (error) {
    if (error instanceof Away) setAway(true);
    else notice(error.message);
  }
  later();
}

function later() {
  clearTimeout(timer);
  if (document.hidden && !player.playing) return;
  const busy = away || !state || !state.ready || state.queue.some((job) => job.state !== "failed") || state.pieces.some((one) => one.state === "elsewhere");
  timer = setTimeout(() => ask(), busy ? QUICK : CALM);
}

function take(answer) {
  if (!state && answer.space && goToOwnRoom(answer)) return;
  state = answer;
  edit.update(state);
  if (answer.piece && Array.isArray(answer.piece.takes)) {
    answer.piece.takes_list = answer.piece.takes;
  }
  side.show(state, screen === "piece" ? view.name : null);
  if (screen === "piece") {
    if (state.piece) view.show(state.piece, state);
    else lost(view.name);
  }
  showNow();
  enable();
  if (wish) {
    const given = wish;
    wish = null;
    showNew(given);
  }
}

/** On the Hub every visitor has a room: who comes again, to an empty one, goes to that of the last time. */
function goToOwnRoom({ pieces, queue }) {
  const here = location.pathname;
  try {
    const last = localStorage.getItem(ROOM);
    if (!pieces.length && !queue.length && last !== here && /^\/v\/[0-9a-f]{32}\/$/.test(last)) {
      location.replace(last);
      return true;
    }
    localStorage.setItem(ROOM, here);
  } catch {
    // a page inside another page may have no storage: then its address alone leads back
  }
  return false;
}

/** The open piece is not there (any more). */
function lost(name) {
  view.close();
  screen = "welcome";
  history.replaceState(null, "", location.pathname + location.search);
  showWelcome();
  if (name) notice(`There is no piece ${name} here.`);
}

function showNow() {
  const job = state.queue.find((one) => one.state === "running");
  let told = "";
  if (!state.ready) told = "The program is starting …";
  else if (job) {
    told = `Making ${job.piece}`;
    if (job.level !== undefined && job.level !== null) told += `: ${layerName(job.level, job.top_level ?? 2)} ${Math.floor(job.share * 100)} %`;
    if (job.left_seconds) told += `, ${lasting(job.left_seconds)} left`;
  } else {
    const waits = state.queue.find((one) => one.place > 1);
    if (waits) told = `${waits.piece} is number ${waits.place} in line`;
  }
  if (byId("now").textContent !== told) byId("now").textContent = told;
  speak();
}

/** For who does not see the page: what happens, not too often. */
function speak() {
  const opened = state.piece;
  const told = opened && screen === "piece" ? `${opened.name}: ${stateName(opened)}${opened.state === "making" && opened.share ? `, ${Math.floor(opened.share * 10) * 10} %` : ""}` : "";
  if (told === spoken || Date.now() - spokenAt < SPOKEN_EVERY) return;
  spoken = told;
  spokenAt = Date.now();
  byId("live").textContent = told;
}

function setAway(now) {
  if (away === now) return;
  away = now;
  byId("away").textContent = now ? "The studio does not answer. This page goes on by itself as soon as it is back; what you typed stays." : "";
  byId("away").hidden = !now;
  enable();
  if (!now) for (const one of [form, edit]) one.planAgain();
}

/** What needs the server cannot be used while it is away. */
function enable() {
  for (const one of document.querySelectorAll("[data-server]")) {
    if (away && !one.disabled) {
      one.disabled = true;
      one.dataset.wasEnabled = "";
    } else if (!away && "wasEnabled" in one.dataset) {
      one.disabled = false;
      delete one.dataset.wasEnabled;
    }
  }
}

// --- acting ---

/** Do something on the server, then look again; what goes wrong is said. */
async function act(does) {
  try {
    const result = await does();
    await ask();
    return result;
  } catch (error) {
    if (error instanceof Away) setAway(true);
    else notice(error.message, null, true);
    return null;
  }
}

async function keep(number, wanted) {
  const name = view.name;
  const kept = view.list.filter((one) => (one.number === number ? wanted : one.kept)).map((one) => one.number);
  for (const one of view.list) if (one.number === number) one.kept = wanted;
  view.acts.isKeeping = true;
  view.showTakes();
  view.showActs();
  await act(() => post(piecePath(name, "keep"), { numbers: kept }));
  view.acts.isKeeping = false;
}

async function remove(name) {
  const done = await act(() => post(piecePath(name, "remove")));
  if (done) notice(`${name} is in the bin.`, ["Undo", () => act(() => post(`api/removed/${encodeURIComponent(done.removed)}/restore`)).then((back) => back && open(back.piece))]);
}

function fetchFile({ file }) {
  const link = el("a", { href: `api/exports/${file.split("/").map(encodeURIComponent).join("/")}`, download: "" });
  link.click();
}

let noticeTimer = 0;

/** A sentence at the foot of the page, with a button if there is something to do about it. */
function notice(text, button = null, wrong = false) {
  const box = byId("notice");
  clearTimeout(noticeTimer);
  fill(box, el("span", { role: wrong ? "alert" : null }, text),
    button ? el("button", { type: "button", id: "notice-do", onclick: () => { fill(box); button[1](); } }, button[0]) : null,
    el("button", { type: "button", id: "notice-close", "aria-label": "Close this message", onclick: () => fill(box) }, "✕"));
  noticeTimer = setTimeout(() => fill(box), 20000);
}

// --- questions in front of the page ---

function askInFront(title, fields, label, does) {
  const box = byId("ask");
  const wrong = el("p", { class: "wrong", role: "alert", hidden: true });
  const go = async (event) => {
    event.preventDefault();
    try {
      await does();
      box.close();
      await ask(true);
    } catch (error) {
      wrong.textContent = error.message;
      wrong.hidden = false;
    }
  };
  fill(box, el("form", { method: "dialog", onsubmit: go },
    el("h2", { id: "ask-title" }, title), ...fields, wrong,
    el("div", { class: "row" },
      el("button", { type: "submit", class: "primary", "data-server": "" }, label),
      el("button", { type: "button", onclick: () => box.close() }, "Cancel"))));
  box.showModal();
}

function askExport(piece, numbers, which) {
  const choice = el("select", { id: "export-format" }, ...FORMATS.map(([value, label]) => el("option", { value }, label)));
  const takes = view.list.map((one) => one.number);
  const wide = takes.length > 1 ? stereoFields(takes, numbers) : null;
  askInFront(`Export ${piece.name}`, [
    el("p", { class: "facts" }, `Exports ${which}${numbers.length > 1 ? ", in one zip file" : ""}.`),
    el("div", { class: "field" }, el("label", { for: "export-format" }, "As"), choice),
    wide?.box,
    piece.licence ? el("p", { class: "facts" }, `Licence of what this model makes: ${piece.licence}.`) : null,
  ], "Export", async () => fetchFile(await post(piecePath(piece.name, "export"), { format: choice.value, numbers, stereo: wide?.asked() })));
}

/** Three takes as one file in stereo: which are left, in the middle and right, and how late. */
function stereoFields(takes, kept) {
  const offered = kept.length > 1 ? kept : takes;
  const places = ["left", "centre", "right"].map((place, index) => {
    const chosen = offered[index % offered.length];
    const take = el("select", { id: `stereo-${place}` }, ...takes.map((one) => el("option", { value: String(one), selected: one === chosen }, `Take ${one}`)));
    const delay = el("input", { id: `delay-${place}`, value: ["0.02", "0", "0.04"][index], inputmode: "decimal", autocomplete: "off" });
    const label = place[0].toUpperCase() + place.slice(1);
    return { take, delay, box: el("div", { class: "pair" },
      el("div", { class: "field" }, el("label", { for: take.id }, label), take),
      el("div", { class: "field" }, el("label", { for: delay.id }, `${label}: seconds late`), delay)) };
  });
  const rest = el("div", { id: "stereo-places", hidden: true }, ...places.map((one) => one.box));
  const check = el("input", { id: "stereo", type: "checkbox", "aria-describedby": "h-stereo", onchange: () => { rest.hidden = !check.checked; } });
  return {
    box: el("div", {},
      el("div", { class: "check" }, check, el("div", {}, el("label", { for: "stereo" }, "Wide stereo from three takes"),
        el("small", { id: "h-stereo" }, "One file: a take for each ear and one for both. Takes that finish the same sketch in different ways sound wide together; others sound like three songs at once."))),
      rest),
    asked: () => (check.checked ? { takes: places.map((one) => Number(one.take.value)), delays: places.map((one) => one.delay.value) } : null),
  };
}

function askName(name) {
  const input = el("input", { id: "new-name", value: name, autocomplete: "off", maxlength: "81" });
  askInFront(`Rename ${name}`, [
    el("div", { class: "field" }, el("label", { for: "new-name" }, "New name"), input, el("small", {}, "Letters, digits, - and _.")),
  ], "Rename", async () => {
    const { piece } = await post(piecePath(name, "rename"), { name: input.value.trim() });
    open(piece);
  });
  input.select();
}

// --- keys ---

const KEYS = [
  ["Space", "play or pause", () => player.toggle()],
  ["j", "back one second", () => player.seek(player.now() - 1)],
  ["l", "on one second", () => player.seek(player.now() + 1)],
  ["1 to 9", "choose a take", null],
  ["k", "keep the chosen take, or not", () => { const one = view.take(); if (one) keep(one.number, !one.kept); }],
  ["[", "go on from where you listen, or begin a stretch there", () => view.setPoint(player.now())],
  ["]", "end a stretch where you listen", () => view.setUntil(player.now())],
  ["h", "hear the stretch", () => click("hear")],
  ["c", "continue", () => click("continue")],
  ["r", "make the stretch again", () => click("infill")],
  ["i", "put new music in where you listen", () => click("insert")],
  ["x", "cut the stretch out", () => click("cut")],
  ["t", "keep only the stretch", () => click("trim")],
  ["d", "repeat the stretch", () => click("repeat-stretch")],
  ["v", "move the stretch", () => click("move-stretch")],
  ["g", "join with another piece", () => click("join")],
  ["a", "arrange parts, or add to the edit that you began", () => click("arrange")],
  ["u", "finish what is kept", () => click("upsample")],
  ["m", "more takes", () => click("more")],
  ["e", "export", () => click("export")],
  ["s", "stop", () => click("stop")],
  ["n", "new piece", () => showNew()],
  ["Escape", "choose no stretch, then put “go on here” back to the end", () => view.forgetStretch()],
  ["?", "this list", () => showKeys()],
];

function click(id) {
  const button = byId(id);
  if (button && !button.disabled) button.click();
}

function showKeys() {
  const box = byId("keys");
  fill(box, el("h2", { id: "keys-title" }, "Keys"),
    el("p", {}, "They work while no text field has the focus."),
    el("dl", {}, ...KEYS.flatMap(([key, told]) => [el("dt", {}, el("kbd", {}, key.length === 1 ? key.toUpperCase() : key)), el("dd", {}, told)])),
    el("button", { type: "button", onclick: () => box.close() }, "Close"));
  box.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  const { target } = event;
  if (target.matches("input:not([type=checkbox]), textarea, select")) return;
  if (event.key === " " && target.matches("button, summary, a, input")) return;
  const onPiece = screen === "piece";
  if (onPiece && /^[1-9]$/.test(event.key)) {
    view.choose(Number(event.key));
    return;
  }
  const key = event.key === " " ? "Space" : event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const found = KEYS.find(([name]) => name === key);
  if (!found || !found[2] || (!onPiece && !["n", "?"].includes(key))) return;
  event.preventDefault();
  found[2]();
});

// --- the rest ---

function closeSide() {
  byId("side").classList.remove("open");
  byId("open-side").setAttribute("aria-expanded", "false");
}

byId("open-side").addEventListener("click", () => {
  const isOpen = byId("side").classList.toggle("open");
  byId("open-side").setAttribute("aria-expanded", String(isOpen));
});
byId("new-piece").addEventListener("click", () => showNew());
byId("show-keys").addEventListener("click", () => showKeys());
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
window.addEventListener("hashchange", () => {
  const name = addressed();
  if (name && name !== view.name) open(name);
  else if (!name && screen === "piece") {
    view.close();
    showWelcome();
    ask(true);
  }
});

if ("mediaSession" in navigator) {
  navigator.mediaSession.setActionHandler("play", () => player.play());
  navigator.mediaSession.setActionHandler("pause", () => player.pause());
  navigator.mediaSession.setActionHandler("seekbackward", () => player.seek(player.now() - 5));
  navigator.mediaSession.setActionHandler("seekforward", () => player.seek(player.now() + 5));
  player.addEventListener("change", () => {
    navigator.mediaSession.playbackState = player.playing ? "playing" : "paused";
    if (view.name) navigator.mediaSession.metadata = new MediaMetadata({ title: view.name, artist: view.piece?.artist || "Jukebox studio" });
  });
}

globalThis.studio = { player, view, get state() { return state; } }; // for tests and the curious

const wanted = addressed();
if (wanted) open(wanted);
else {
  showWelcome();
  ask();
}
