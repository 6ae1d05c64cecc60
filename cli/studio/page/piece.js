// One piece: its takes to hear, to keep and to go on from.

import { byId, clock, el, fill, lasting, span } from "./dom.js";
import { levelName } from "./form.js";
import { drawSpectrogram, drawWave } from "./pictures.js";
import { layerName, stateName } from "./side.js";
import { Sounds, heardOf } from "./sounds.js";

const STEP = 1; // seconds of an arrow key
const JUMP = 5; // of page up and down
const FRAME = 30; // milliseconds between movements of the line, at least
const DRAG = 6; // pixels from which on a press is the choice of a stretch

export class PieceView {
  /** `acts` are what buttons do; see `main.js`. */
  constructor(main, player, acts) {
    Object.assign(this, { main, player, acts });
    this.name = null;
    this.chosen = 1;
    this.point = null; // where to go on from; null is the end
    this.until = null; // where a stretch that begins there ends
    this.view = "wave";
    this.sounds = new Sounds(player, (number, isNew) => this.hear(number, isNew));
    this.listen = false; // begin to sound as soon as there is something
    new ResizeObserver(() => this.draw()).observe(main);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    player.addEventListener("change", () => {
      this.showPlayer();
      if (player.playing && !this.isFollowing) this.followFrames();
    });
  }

  /** Leave the screen; a piece that sounds stops. */
  close() {
    this.name = null;
    this.piece = null;
    this.sounds.clear(null);
    this.player.clear();
  }

  open(name, { listen = false } = {}) {
    if (this.name !== name) {
      this.close();
      this.name = name;
      this.sounds.clear(name);
      this.chosen = 1;
      this.point = null;
      this.until = null;
    }
    this.shell = null;
    this.listen = listen;
  }

  /** Show a piece as the server tells it. */
  show(piece, state) {
    if (!piece || piece.name !== this.name) return;
    this.piece = piece;
    this.state = state;
    const shape = JSON.stringify([piece.name, (piece.takes_list || []).length]);
    if (!this.shell || this.shell !== shape || !byId("piece-title")) {
      this.build();
      this.shell = shape;
    }
    this.showHead();
    if (this.list.length) {
      if (!this.take()) this.chosen = this.list[0].number;
      this.showTakes();
      this.showWords();
      this.showActs();
      this.fetchSounds();
    }
    this.showPlayer();
  }

  /** The takes; none while the piece has not begun. */
  get list() {
    return this.piece?.takes_list || [];
  }

  take(number = this.chosen) {
    return this.list.find((one) => one.number === number) || null;
  }

  job() {
    return this.state.queue.find((job) => job.piece === this.name) || null;
  }

  build() {
    const marks = (tone, text) => el("span", {}, el("i", { class: tone }), text);
    fill(this.main,
      el("div", { class: "row top" },
        el("div", {}, el("h1", { id: "piece-title", tabindex: "-1" }), el("p", { id: "piece-facts", class: "facts" })),
        el("div", { class: "row", id: "piece-buttons" })),
      el("div", { id: "piece-status" }),
      el("div", { id: "listening", hidden: true },
        el("div", { class: "row player" },
          el("button", { id: "play", type: "button", class: "primary", "aria-keyshortcuts": "Space", onclick: () => this.player.toggle() }, "Play"),
          el("span", { class: "time", id: "time" }),
          el("label", { class: "repeat" }, el("input", { id: "repeat", type: "checkbox", checked: this.player.repeat, onchange: (event) => { this.player.repeat = event.target.checked; } }), "Repeat"),
          el("span", { class: "row", role: "group", "aria-label": "Picture" },
            ...[["wave", "Waveform"], ["spectrum", "Spectrogram"]].map(([view, label]) =>
              el("button", { type: "button", id: `view-${view}`, "aria-pressed": String(this.view === view), onclick: () => this.look(view) }, label)))),
        el("div", { id: "takes" }),
        el("p", { class: "key", id: "key", hidden: this.view !== "wave" }, marks("fine", "finest layer"), marks("middle", "middle layer"), marks("rough", "sketch"), marks("dots", "to come (dots)"), marks("tick", "join")),
        el("p", { class: "words", id: "words", hidden: true, "aria-label": "Lyrics" }),
        el("div", { class: "acts", id: "acts" })),
      el("div", { id: "about" }));
    this.rows = new Map();
  }

  // --- head ---

  showHead() {
    const { piece } = this;
    byId("piece-title").textContent = piece.name;
    const facts = [piece.genre, piece.artist, piece.seed ? `seed ${piece.seed}` : null].filter(Boolean);
    const from = piece.goes_on_from;
    const told = el("span", {}, facts.join(" · "));
    if (from) {
      const verb = { upsample: "finishes", edit: "is put together from", infill: "mends" }[from.action] || "goes on from";
      const where = from.from_seconds === null || from.action === "upsample" ? "" : ` at ${clock(from.from_seconds)}`;
      const which = [...new Set(from.takes)];
      told.append(
        facts.length ? " · " : "", `${verb} `,
        piece.parent
          ? el("button", { type: "button", class: "plain", id: "to-parent", onclick: () => this.acts.open(piece.parent) }, piece.parent)
          : (from.name || "a piece that is not here"),
        which.length ? `, take ${which.join(", ")}` : "", where);
      const others = [...new Set(from.parts.map((part) => part.name))].filter((name) => name !== (piece.parent || from.name));
      if (others.length) told.append(" and ", others.join(", "));
    }
    fill(byId("piece-facts"), told);
    this.showButtons();
    this.showStatus();
  }

  showButtons() {
    const { piece } = this;
    const button = (id, label, act, extra = {}) =>
      el("button", { type: "button", id, "data-server": "", onclick: act, ...extra }, label);
    const buttons = [];
    if (["making", "waiting"].includes(piece.state)) {
      const stopping = Boolean(this.job()?.stopping);
      buttons.push(button("stop", stopping ? "Stopping …" : "Stop", () => this.acts.stop(piece.name), { "aria-keyshortcuts": "s", disabled: stopping }));
    }
    if (piece.state === "stopped") buttons.push(button("go-on", "Go on", () => this.acts.goOn(piece.name), { class: "primary" }));
    if (piece.state === "failed") {
      buttons.push(button("go-on", "Try again", () => this.acts.goOn(piece.name), { class: "primary" }));
      buttons.push(button("stop", "Give up", () => this.acts.stop(piece.name)));
    }
    if (["done", "sketch", "stopped", "damaged"].includes(piece.state)) {
      if (piece.state !== "damaged") buttons.push(button("rename", "Rename", () => this.acts.rename(piece.name)));
      buttons.push(button("remove", "Remove", () => this.acts.remove(piece.name)));
    }
    const key = buttons.map((one) => `${one.id}${one.textContent}${one.disabled}`).join();
    if (byId("piece-buttons").dataset.key !== key) {
      fill(byId("piece-buttons"), ...buttons);
      byId("piece-buttons").dataset.key = key;
    }
  }

  showStatus() {
    const { piece } = this;
    const job = this.job();
    const box = byId("piece-status");
    const told = this.statusText(piece, job);
    const key = JSON.stringify([told, job?.share, piece.share, piece.error, job?.message, job?.log]);
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    const parts = [];
    if (piece.state === "damaged") parts.push(el("p", { class: "wrong box", role: "alert" }, piece.error));
    if (job?.message) {
      parts.push(el("div", { class: "wrong box", role: "alert" }, el("p", {}, job.message)));
      if (job.log?.length) {
        parts.push(el("details", { class: "more" }, el("summary", {}, "What the program wrote last"), el("pre", {}, job.log.join("\n"))));
      }
    }
    if (told) {
      parts.push(el("div", { class: "status" }, el("p", {}, told),
        ["making", "elsewhere", "stopped"].includes(piece.state)
          ? el("progress", { max: "1", value: piece.share || 0, "aria-label": `How much of ${piece.name} is made` })
          : null));
    }
    fill(box, ...parts);
  }

  statusText(piece, job) {
    switch (piece.state) {
      case "making": {
        if (job?.stopping) return "Stopping; what is made stays.";
        if (job?.level === undefined || job?.level === null) {
          return this.state.ready ? "It begins: the model is being loaded." : "The program is starting; that takes some seconds.";
        }
        const layer = layerName(job.level, piece.top_level ?? 2);
        const left = job.left_seconds ? `, about ${lasting(job.left_seconds)} to go` : "";
        return `Making the ${layer}: ${Math.floor(job.share * 100)} %${left}.`;
      }
      case "waiting":
        return job?.place > 1 ? `It waits: ${job.place === 2 ? "it is next" : `number ${job.place} in line`}.` : "It waits for its turn.";
      case "elsewhere":
        return "Another program is working on it, such as jukebox on the command line. You can listen; it cannot be changed from here meanwhile.";
      case "stopped":
        return `Stopped at ${Math.floor((piece.share || 0) * 100)} %. Nothing is lost: “Go on” makes the same music as without the stop.`;
      case "sketch":
        return "This is a sketch: the melody is there, the sound is rough. Keep the takes you like and finish them.";
      default:
        return "";
    }
  }

  // --- takes ---

  showTakes() {
    byId("listening").hidden = false;
    const missing = this.list.some((take) => !this.rows.has(take.number));
    if (missing || this.rows.size !== this.list.length) {
      this.rows = new Map(this.list.map((take) => [take.number, this.row(take)]));
      fill(byId("takes"), ...[...this.rows.values()].map((row) => row.box));
    }
    for (const take of this.list) this.showTake(take);
  }

  row(take) {
    const { number } = take;
    const canvas = el("canvas", { "aria-hidden": "true" });
    const line = el("div", { class: "head-line" });
    const handle = (kind, label, move) => el("div", {
      class: `point ${kind}`, role: "slider", tabindex: "0", hidden: true,
      "aria-label": `${label} in take ${number}`, "aria-valuemin": "0", "aria-valuenow": "0",
      onpointerdown: (event) => this.drag(event, take, move),
      onkeydown: (event) => this.moveByKey(event, kind, move),
      onclick: (event) => event.stopPropagation(),
    });
    const point = handle("begin", "Where to go on", (seconds) => this.setPoint(seconds));
    const until = handle("end", "End of the stretch", (seconds) => this.setUntil(seconds));
    const shade = el("div", { class: "stretch", hidden: true });
    const wave = el("div", { class: "wave" });
    const slider = el("div", {
      role: "slider", tabindex: "0", "aria-label": `Position in take ${number}`, "aria-valuemin": "0", "aria-valuenow": "0", class: "wave",
      onpointerdown: (event) => this.press(event, number),
      onkeydown: (event) => this.moveHead(event, number),
    }, canvas, shade, line);
    wave.append(slider, point, until);
    const keep = el("input", { type: "checkbox", id: `keep-${number}`, "data-server": "", onchange: (event) => this.acts.keep(number, event.target.checked) });
    const choose = el("button", { type: "button", id: `take-${number}`, "aria-pressed": "false", onclick: () => this.choose(number) }, `Take ${number}`);
    const made = el("span", { class: "made" });
    const box = el("div", { class: "take" },
      el("div", { class: "head" }, choose, el("label", {}, keep, "Keep"), made), wave);
    return { box, canvas, line, point, until, shade, wave, slider, keep, choose, made };
  }

  showTake(take) {
    const row = this.rows.get(take.number);
    const isChosen = take.number === this.chosen;
    row.box.classList.toggle("chosen", isChosen);
    row.choose.setAttribute("aria-pressed", String(isChosen));
    if (document.activeElement !== row.keep || !this.acts.isKeeping) row.keep.checked = take.kept;
    const told = this.madeText(take);
    if (row.made.textContent !== told) row.made.textContent = told;
    row.slider.setAttribute("aria-valuemax", take.seconds.toFixed(1));
    for (const one of [row.point, row.until]) one.setAttribute("aria-valuemax", take.seconds.toFixed(1));
    this.showPoint();
    const key = JSON.stringify([heardOf(take), this.view, row.canvas.clientWidth]);
    if (row.drawn !== key) {
      row.drawn = key;
      this.drawTake(take);
    }
  }

  madeText(take) {
    const { piece } = this;
    const top = piece.top_level;
    const finest = take.levels[piece.to_level];
    if (finest && finest.heard_seconds >= take.seconds - 0.01) {
      return `${span(take.seconds)}${piece.to_level ? ", sketch" : ""}`;
    }
    const parts = [...take.levels].reverse()
      .filter((entry) => entry.share > 0)
      .map((entry) => `${levelName(entry.level, top).toLowerCase()} ${Math.floor(entry.share * 100)} %`);
    return parts.join(", ") || "nothing to hear yet";
  }

  choose(number) {
    if (!this.take(number) || number === this.chosen) return;
    this.chosen = number;
    this.loadChosen();
    this.showTakes();
    this.showWords();
    this.showActs();
  }

  look(view) {
    this.view = view;
    for (const one of ["wave", "spectrum"]) byId(`view-${one}`).setAttribute("aria-pressed", String(one === view));
    byId("key").hidden = view !== "wave";
    this.draw();
    this.fetchSounds();
  }

  draw() {
    if (!this.piece || !this.rows) return;
    for (const take of this.list) if (this.rows.has(take.number)) this.drawTake(take);
  }

  drawTake(take) {
    const row = this.rows.get(take.number);
    const picture = this.sounds.picture(take.number);
    const marks = [
      ...this.piece.seams.filter((seam) => seam.take === take.number).map((seam) => seam.seconds),
      ...(take.cut_seconds > 0 && take.cut_seconds < take.seconds ? [take.cut_seconds] : []),
    ];
    if (this.view === "wave") drawWave(row.canvas, picture, take.seconds, heardOf(take), marks);
    else drawSpectrogram(row.canvas, picture, take.seconds, marks);
  }

  // --- sounds ---

  fetchSounds() {
    this.sounds.update(this.list, this.chosen, this.view === "spectrum");
  }

  /** There is something new to draw of a take, or also to play. */
  hear(number, isNew) {
    const take = this.take(number);
    if (!take || !this.rows?.has(number)) return;
    if (isNew && number === this.chosen) this.loadChosen();
    this.beginToSound();
    this.drawTake(take);
  }

  loadChosen() {
    const take = this.take();
    if (!take) return;
    this.sounds.play(take, !take.sound?.finished && this.isUnderWay());
    this.beginToSound();
  }

  beginToSound() {
    if (!this.listen || !this.player.duration) return;
    this.listen = false;
    if (this.player.context) this.player.play();
  }

  isUnderWay() {
    return ["making", "waiting", "elsewhere"].includes(this.piece.state);
  }

  // --- the player's part of the screen ---

  showPlayer() {
    const play = byId("play");
    if (!play) return;
    const label = this.player.playing ? "Pause" : "Play";
    if (play.textContent !== label) play.textContent = label;
    play.disabled = !this.player.duration && !this.player.playing;
    this.follow(true);
  }

  /** While it sounds: the line, the clock and the word that is sung. */
  follow(always = false) {
    const take = this.piece && this.rows && this.take();
    if (!take || !(always || this.player.sounding)) return;
    this.player.checkStretch();
    const at = this.player.now();
    const text = `${clock(at)} / ${span(take.seconds)}`;
    const time = byId("time");
    if (time && time.textContent !== text) time.textContent = text;
    for (const [number, row] of this.rows) {
      row.line.hidden = number !== this.chosen;
      if (number !== this.chosen) continue;
      row.line.style.left = `${(100 * at) / take.seconds}%`;
      row.slider.setAttribute("aria-valuenow", at.toFixed(1));
      row.slider.setAttribute("aria-valuetext", `${clock(at, 0)} of ${span(take.seconds, 0)}`);
    }
    this.lightWords(at);
  }

  /** Follow what is played, until it stops; not in every frame: the music may be made on this machine. */
  followFrames() {
    this.isFollowing = true;
    let last = 0;
    const frame = (now) => {
      if (now - last >= FRAME) {
        last = now;
        this.follow();
      }
      this.isFollowing = this.player.playing;
      if (this.isFollowing) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  secondsAt(x, wave, number) {
    const area = wave.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (x - area.left) / area.width));
    return share * this.take(number).seconds;
  }

  moveHead(event, number) {
    const at = this.player.now();
    const end = this.take(number).seconds;
    const moves = { ArrowLeft: at - STEP, ArrowDown: at - STEP, ArrowRight: at + STEP, ArrowUp: at + STEP, PageDown: at - JUMP, PageUp: at + JUMP, Home: 0, End: end };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.choose(number);
    this.player.seek(moves[event.key]);
  }

  // --- where to go on, and stretches ---

  /** A press on the picture: a click goes there, a drag chooses a stretch. */
  press(event, number) {
    if (event.button !== 0) return;
    const { wave, slider } = this.rows.get(number);
    const first = event.clientX;
    const begin = this.secondsAt(first, wave, number);
    let dragged = false;
    const move = (moved) => {
      if (!dragged && Math.abs(moved.clientX - first) < DRAG) return;
      if (!dragged) slider.setPointerCapture(event.pointerId);
      dragged = true;
      this.choose(number);
      const end = this.secondsAt(moved.clientX, wave, number);
      this.setStretch(Math.min(begin, end), Math.max(begin, end));
    };
    const stop = (last) => {
      slider.removeEventListener("pointermove", move);
      for (const kind of ["pointerup", "pointercancel"]) slider.removeEventListener(kind, stop);
      if (dragged || last.type === "pointercancel") return;
      this.choose(number);
      this.player.seek(begin);
    };
    slider.addEventListener("pointermove", move);
    for (const kind of ["pointerup", "pointercancel"]) slider.addEventListener(kind, stop);
  }

  setStretch(begin, end) {
    [this.point, this.until] = [begin, end];
    this.showStretch();
  }

  setPoint(seconds) {
    const take = this.take();
    if (!take) return;
    const least = this.until === null ? 0.01 : 0;
    const most = this.until === null ? take.seconds : this.until - 0.01;
    this.point = seconds === null ? null : Math.max(least, Math.min(seconds, most));
    if (this.point === null || this.point >= take.seconds - 0.01) [this.point, this.until] = [null, null];
    this.showStretch();
  }

  setUntil(seconds) {
    const take = this.take();
    if (!take || seconds === null) return;
    if (this.point === null) this.point = 0;
    this.until = Math.min(Math.max(seconds, this.point + 0.01), take.seconds);
    this.showStretch();
  }

  /** Give up the stretch, and then the point. */
  forgetStretch() {
    if (this.until === null) this.point = null;
    this.until = null;
    this.showStretch();
  }

  showStretch() {
    this.showPoint();
    this.showActs();
  }

  showPoint() {
    for (const [number, row] of this.rows) {
      const isHere = number === this.chosen && this.list.length > 0;
      const isStretch = isHere && this.until !== null;
      row.point.hidden = !isHere;
      row.until.hidden = row.shade.hidden = !isStretch;
      if (!isHere) continue;
      const { seconds } = this.take(number);
      const at = this.point ?? seconds;
      const told = isStretch ? "Begin of the stretch" : "Where to go on";
      row.point.setAttribute("aria-label", `${told} in take ${number}`);
      row.point.classList.toggle("stretches", isStretch);
      place(row.point, at, seconds, this.point === null ? "at the end" : `at ${clock(at)}`);
      if (!isStretch) continue;
      place(row.until, this.until, seconds, `at ${clock(this.until)}`);
      row.shade.style.left = `${(100 * at) / seconds}%`;
      row.shade.style.width = `${(100 * (this.until - at)) / seconds}%`;
    }
  }

  drag(event, take, setTo) {
    event.preventDefault();
    const { wave } = this.rows.get(take.number);
    const handle = event.currentTarget;
    handle.setPointerCapture(event.pointerId);
    handle.focus();
    const move = (moved) => setTo(this.secondsAt(moved.clientX, wave, take.number));
    handle.addEventListener("pointermove", move);
    const end = () => handle.removeEventListener("pointermove", move);
    handle.addEventListener("pointerup", end, { once: true });
    handle.addEventListener("pointercancel", end, { once: true });
  }

  moveByKey(event, kind, setTo) {
    const { seconds } = this.take();
    const at = (kind === "end" ? this.until : this.point) ?? seconds;
    const last = kind === "end" ? seconds : null;
    const moves = { ArrowLeft: at - 0.1, ArrowDown: at - 0.1, ArrowRight: at + 0.1, ArrowUp: at + 0.1, PageDown: at - STEP, PageUp: at + STEP, Home: 0, End: last };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    setTo(moves[event.key]);
  }

  /** The stretch that is chosen; else one of two seconds from where one goes on, or listens. */
  stretch() {
    const { seconds } = this.take();
    const begin = this.point ?? Math.min(this.player.now(), Math.max(seconds - 2, 0));
    return [begin, this.until ?? Math.min(begin + 2, seconds)];
  }

  // --- words ---

  showWords() {
    const words = this.take()?.words || [];
    const box = byId("words");
    const key = JSON.stringify(words);
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    box.hidden = words.length === 0;
    this.spoken = words;
    this.lit = undefined;
    fill(box, ...words.flatMap((word, index) => [
      el("button", { type: "button", id: `word-${index}`, title: clock(word.start), onclick: () => this.player.seek(word.start) }, word.text), " "]));
  }

  lightWords(at) {
    const words = this.spoken || [];
    if (!words.length) return;
    let now = -1;
    for (let index = 0; index < words.length && words[index].start <= at; index += 1) now = index;
    if (now === this.lit) return;
    this.lit = now;
    [...byId("words").querySelectorAll("button")].forEach((button, index) => {
      button.classList.toggle("sung", index < now);
      button.classList.toggle("now", index === now);
      if (index === now) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
  }

  // --- what can be done ---

  /** The takes that an action is about: those that are kept, or all. */
  keptNumbers() {
    const kept = this.list.filter((take) => take.kept).map((take) => take.number);
    return kept.length ? kept : this.list.map((take) => take.number);
  }

  canGoOn() {
    return ["done", "sketch", "stopped"].includes(this.piece?.state);
  }

  showActs() {
    const { piece } = this;
    const box = byId("acts");
    const kept = this.list.filter((take) => take.kept).map((take) => take.number);
    const which = kept.length ? `the ${kept.length > 1 ? `${kept.length} kept takes` : "kept take"} (${kept.join(", ")})` : this.list.length === 1 ? "the take" : "all takes";
    const draft = this.acts.draft();
    const key = JSON.stringify([piece.state, which, this.chosen, this.point, this.until, piece.to_level, draft]);
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    const wait = !this.canGoOn();
    const button = (id, label, shortcut, act, disabled = wait, extra = {}) =>
      el("button", { type: "button", id, "data-server": "", "aria-keyshortcuts": shortcut, disabled, onclick: act, ...extra }, label);
    const group = (id, title, told, ...buttons) =>
      el("section", { "aria-labelledby": id }, el("h2", { id }, title), el("p", {}, ...[told].flat()), el("div", { class: "row" }, ...buttons));
    const where = this.point === null ? "the end" : clock(this.point);
    const isStretch = this.until !== null;
    const edit = (doing) => this.acts.edit(piece, this.take(), { stretch: this.stretch(), doing });
    fill(box,
      wait ? el("p", {}, "You can go on from it, mend and export it as soon as it is made, or stopped.") : null,
      group("act-go-on", "Go on", isStretch ? "New music from where the stretch begins; what comes before it stays." : "New music after this one, from the end or from where you drag “go on here” in the picture.",
        piece.to_level > 0 ? button("upsample", `Finish ${which}`, "u", () => this.acts.finish(piece, this.keptNumbers()), wait, { class: "primary" }) : null,
        button("continue", `Continue take ${this.chosen} from ${where}`, "c", () => this.acts.continueFrom(piece, [this.chosen], this.point)),
        piece.goes_on_from?.action === "edit" ? null : button("more", "More takes", "m", () => this.acts.more(piece), false)),
      group("act-mend", "Mend",
        isStretch
          ? `The stretch from ${clock(this.point)} to ${clock(this.until)} of take ${this.chosen} is chosen. What you make of it is a new piece; this one stays.`
          : ["Drag across the picture to choose a stretch", el("span", { class: "with-keys" }, ", or listen and press [ where it begins and ] where it ends"), "; without one, two seconds from where you listen are proposed. What you make of it is a new piece; this one stays."],
        isStretch ? button("hear", "Hear the stretch", "h", () => this.player.playStretch(this.point, this.until), false) : null,
        button("infill", "Make the stretch again", "r", () => this.acts.infill(piece, this.chosen, this.stretch())),
        button("insert", "Put new music in", "i", () => this.acts.insert(piece, this.chosen, this.point ?? this.player.now())),
        isStretch ? button("no-stretch", "Choose none", "Escape", () => this.forgetStretch(), false) : null),
      draft ? this.draftGroup(draft, group, button) : group("act-edit", "Edit",
        "Take the piece apart and put it together in another way, also with parts of other pieces. Nothing is made anew, so it takes a moment.",
        button("cut", "Cut the stretch out", "x", () => edit("cut")),
        button("trim", "Keep only the stretch", "t", () => edit("keep")),
        button("repeat-stretch", "Repeat the stretch", "d", () => edit("repeat")),
        button("move-stretch", "Move the stretch", "v", () => edit("move")),
        button("join", "Join with another piece", "g", () => this.acts.edit(piece, this.take(), { stretch: isStretch ? this.stretch() : null, join: true })),
        button("arrange", "Arrange parts", "a", () => (isStretch ? edit("apart") : this.acts.edit(piece, this.take(), {})))),
      group("act-take", "Take it with you", `As a file to play or to edit: ${which}, or the whole piece, to go on with elsewhere.`,
        button("export", "Export", "e", () => this.acts.export(piece, this.keptNumbers(), which)),
        button("download", "Download piece", null, () => this.acts.download(piece.name))));
    this.showAbout();
  }

  /** While an edit was begun: what can be added to it. */
  draftGroup(draft, group, button) {
    const what = this.until === null ? `take ${this.chosen}` : "the stretch";
    const parts = draft.parts.length === 1 ? "one part" : `${draft.parts.length} parts`;
    return group("act-edit", "Edit", `You began to edit ${draft.piece}; so far it has ${parts}. Add what you hear here, or go back to it.`,
      button("arrange", `Add ${what} to the edit`, "a", () => this.acts.addToEdit(this.piece, this.chosen, this.until === null ? null : this.stretch())),
      button("back-to-edit", "Back to the edit", null, () => this.acts.backToEdit(), false),
      button("drop-edit", "Drop the edit", null, () => this.acts.dropEdit(), false));
  }

  showAbout() {
    const { piece } = this;
    const rows = [
      ["Model", piece.model], ["Licence", piece.licence || "unknown"], ["Made", piece.created.replace("T", " ").replace("+00:00", " UTC")],
      ["Seed", piece.seed], ["Precision", piece.precision],
      ...Object.entries(piece.settings).sort().reverse().map(([level, own]) =>
        [levelName(Number(level), piece.top_level), Object.entries(own).map(([name, value]) => `${name.replace("_", "-")} ${value}`).join(", ")]),
      ["Lyrics", this.take()?.lyrics],
      ["Parts", piece.goes_on_from?.parts.map((part) => `${part.name}, take ${part.take}, ${clock(part.start_seconds)} to ${clock(part.end_seconds)}`).join("; ")],
      ["Joins", piece.seams.length ? `${piece.seams.length}, where parts, or layers that were made in parallel, meet (ticks in the picture)` : null],
    ];
    fill(byId("about"), el("details", { class: "more" },
      el("summary", { id: "about-it" }, "About this piece"),
      piece.notes.length ? el("ul", {}, ...piece.notes.map((note) => el("li", {}, note))) : null,
      el("dl", {}, ...rows.filter(([, text]) => text).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]))));
  }
}

/** Put a handle at some moment of a take. */
function place(handle, at, seconds, told) {
  handle.style.left = `${(100 * at) / seconds}%`;
  handle.classList.toggle("late", at > seconds * 0.8);
  handle.setAttribute("aria-valuenow", at.toFixed(1));
  handle.setAttribute("aria-valuetext", told);
}

export { stateName };
