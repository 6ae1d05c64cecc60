// The list of pieces as a tree, the queue, and the bin.

import { byId, el, fill, lasting, many, span } from "./dom.js";

const STATES = {
  done: "done",
  sketch: "sketch",
  making: "being made",
  waiting: "waits",
  failed: "went wrong",
  elsewhere: "being made by another program",
  stopped: "stopped",
  damaged: "cannot be read",
};

export const stateName = (entry) => STATES[entry.state] || entry.state;

const PARTS = { 0: "finest layer", middle: "middle layer", top: "sketch" };

/** Which layer is under way, in words. */
export function layerName(level, top) {
  if (level === top) return PARTS.top;
  return level === 0 ? PARTS[0] : PARTS.middle;
}

export class Side {
  constructor({ onOpen, onStop, onGoOn, onRestore }) {
    Object.assign(this, { onOpen, onStop, onGoOn, onRestore });
    byId("search").addEventListener("input", () => this.show(this.state, this.opened));
  }

  show(state, opened) {
    if (!state) return;
    Object.assign(this, { state, opened });
    this.showPieces(state, opened);
    byId("queue-part").hidden = state.queue.length === 0;
    fill(byId("queue"), ...state.queue.map((job) => this.job(job)));
    byId("bin").hidden = state.removed.length === 0;
    fill(byId("removed"), ...state.removed.map((name) =>
      el("li", {}, name,
        el("button", { type: "button", id: `restore-${name}`, "data-server": "", "aria-label": `Put ${name} back`, onclick: () => this.onRestore(name) }, "Put back"))));
  }

  showPieces(state, opened) {
    const words = byId("search").value.trim().toLowerCase();
    const found = state.pieces.filter((one) =>
      [one.name, one.genre, one.artist].some((text) => text && text.toLowerCase().includes(words)));
    if (words) {
      fill(byId("pieces"), found.length
        ? el("ul", {}, ...found.map((one) => el("li", {}, this.entry(one, opened))))
        : el("p", {}, "No piece is called that."));
      return;
    }
    if (!state.pieces.length) {
      fill(byId("pieces"), el("p", { class: "facts" }, "None yet."));
      return;
    }
    const below = new Map();
    const names = new Set(state.pieces.map((one) => one.name));
    for (const one of state.pieces) {
      const above = names.has(one.parent) ? one.parent : null;
      if (!below.has(above)) below.set(above, []);
      below.get(above).push(one);
    }
    const tree = (above) => {
      const entries = below.get(above);
      return entries
        ? el("ul", {}, ...entries.map((one) => el("li", {}, this.entry(one, opened), tree(one.name))))
        : null;
    };
    fill(byId("pieces"), tree(null));
  }

  entry(one, opened) {
    const kinds = [one.genre, one.artist].filter(Boolean).join(", ");
    const length = one.seconds ? span(one.seconds, 0) : "";
    const share = ["making", "elsewhere", "stopped"].includes(one.state) && one.share ? `, ${Math.floor(one.share * 100)} %` : "";
    const facts = one.takes ? [kinds, many(one.takes, "take"), length].filter(Boolean).join(" · ") : "";
    return el("button", {
      type: "button", class: "piece plain", id: `piece-${one.name}`,
      "aria-current": one.name === opened ? "true" : null,
      onclick: () => this.onOpen(one.name),
    }, one.name, el("small", {}, facts, facts ? " · " : "", `${stateName(one)}${share}`));
  }

  job(job) {
    let told = "waits";
    if (job.state === "failed") told = "went wrong";
    else if (job.stopping) told = "stopping …";
    else if (job.state === "running") {
      told = job.level === undefined || job.level === null ? "begins" : `${layerName(job.level, job.top_level ?? 2)} ${Math.floor(job.share * 100)} %`;
      if (job.left_seconds) told += `, ${lasting(job.left_seconds)} left`;
    } else if (job.place) told = job.place === 2 ? "next" : `number ${job.place} in line`;
    return el("li", {},
      el("div", { class: "row" },
        el("button", { type: "button", class: "plain", id: `job-${job.id}`, onclick: () => this.onOpen(job.piece) }, job.piece),
        job.state === "failed"
          ? el("button", { type: "button", id: `again-${job.id}`, "data-server": "", "aria-label": `Try ${job.piece} again`, onclick: () => this.onGoOn(job.piece) }, "Try again")
          : null,
        el("button", {
          type: "button", id: `cancel-${job.id}`, "data-server": "", disabled: Boolean(job.stopping),
          "aria-label": job.state === "running" ? `Stop ${job.piece}` : `Take ${job.piece} out of the queue`,
          onclick: () => this.onStop(job.piece),
        }, job.state === "running" ? "Stop" : "✕")),
      el("small", { class: job.state === "failed" ? "wrong" : null }, told));
  }
}
