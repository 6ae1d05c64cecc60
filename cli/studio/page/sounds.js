// The sounds of the takes of a piece: fetched when there is something new, drawn, and given to the
// player. Takes longer than a minute are never here whole: they come part by part.

import { sound, soundPart, soundPath } from "./api.js";
import { decode, isLong } from "./player.js";
import { Picture } from "./pictures.js";

const RATE = 44100;
const DRAWN_PART = 30; // seconds that are fetched at once to be drawn
const PLAYED_PART = 60; // and to be heard
const BEFORE = 1; // seconds of a part before the moment that it is for

/** Seconds that can be heard at each level, finest first; what is coarser is never less. */
export function heardOf(take) {
  const seconds = [];
  let least = 0;
  for (const entry of take.levels) {
    least = Math.max(least, entry.heard_seconds);
    seconds.push(least);
  }
  return seconds;
}

/** What is heard between two moments, in a word that changes when it does. */
const heardIn = (take, begin, end) =>
  heardOf(take).map((one) => Math.min(Math.max(one, begin), end).toFixed(3)).join();

export class Sounds {
  /** `onChange(number)` is told when there is something new to draw or to play of a take. */
  constructor(player, onChange) {
    Object.assign(this, { player, onChange });
    this.clear(null);
    player.addEventListener("want", (event) => {
      if (this.playing) this.loadPart(this.playing, event.detail);
    });
  }

  /** Forget everything: another piece is shown. */
  clear(name) {
    this.name = name;
    this.entries = new Map(); // number -> {version, buffer, picture, drawn, spectrum}
    this.takes = [];
    this.playing = null; // the long take of which the player has a part
    this.part = null; // {number, base, heard}: that part
    this.asked = 0;
  }

  picture(number) {
    return this.entries.get(number)?.picture || null;
  }

  /** Bring everything up to date; the chosen take comes first. */
  async update(takes, chosen, spectrum) {
    Object.assign(this, { takes, chosen, spectrum });
    if (this.fetching) return;
    this.fetching = true;
    try {
      for (;;) {
        const order = [...this.takes].sort((a, b) => (b.number === this.chosen) - (a.number === this.chosen));
        const next = order.find((take) => take.sound && this.isOld(take));
        if (!next) return;
        await this.fetch(this.name, next);
      }
    } finally {
      this.fetching = false;
    }
  }

  isOld(take) {
    const entry = this.entries.get(take.number);
    return !entry || entry.version !== take.sound.version || (this.spectrum && !entry.spectrum);
  }

  async fetch(name, take) {
    const { number, seconds } = take;
    const { version } = take.sound;
    let entry = this.entries.get(number);
    if (!entry || entry.picture.total !== seconds) entry = { picture: new Picture(seconds), drawn: new Map() };
    const isNew = entry.version !== version;
    const spectrum = this.spectrum;
    try {
      if (isLong(seconds)) await this.drawParts(name, take, entry, spectrum);
      else await this.fetchWhole(name, take, entry, isNew, spectrum);
    } catch {
      // the server is away, or the snapshot was cut off while it was written: the next one comes
    }
    if (this.name !== name) return;
    Object.assign(entry, { version, spectrum: spectrum || (entry.spectrum && !isNew) });
    this.entries.set(number, entry);
    this.onChange(number, isNew);
  }

  async fetchWhole(name, take, entry, isNew, spectrum) {
    if (isNew) {
      const bytes = await sound(name, take.number, take.sound.version);
      if (bytes) entry.buffer = await decode(bytes, RATE);
    }
    if (entry.buffer) entry.picture.add(entry.buffer.getChannelData(0), entry.buffer.sampleRate, 0, spectrum);
  }

  /** Draw those parts of a long take that changed. */
  async drawParts(name, take, entry, spectrum) {
    const { picture } = entry;
    const end = Math.max(...heardOf(take));
    this.entries.set(take.number, entry);
    for (let begin = 0; begin < end; begin += DRAWN_PART) {
      const heard = `${heardIn(take, begin, begin + DRAWN_PART)}${spectrum ? " with its spectrum" : ""}`;
      const known = entry.drawn.get(begin);
      if (known === heard || (known?.startsWith(heard) && !spectrum)) continue;
      const from = Math.max(0, begin - picture.overlap);
      const bytes = await soundPart(name, take.number, take.sound.version, from, begin + DRAWN_PART - from);
      if (this.name !== name) return;
      if (!bytes) continue;
      const buffer = await decode(bytes, RATE);
      picture.add(buffer.getChannelData(0), buffer.sampleRate, from, spectrum);
      entry.drawn.set(begin, heard);
      this.onChange(take.number, false);
    }
  }

  // --- for the player ---

  /** Let the player have a take; `growing`: whether more of it is to come. */
  play(take, growing) {
    const entry = this.entries.get(take.number);
    this.playing = null;
    const length = { growing, total: take.seconds };
    if (!isLong(take.seconds)) {
      this.part = null;
      this.player.load(entry?.buffer || null, { ...length, growing: growing || !entry });
      return;
    }
    if (take.sound?.finished) {
      this.part = null;
      this.player.loadLong(soundPath(this.name, take.number, take.sound.version));
      return;
    }
    this.playing = take;
    this.growing = growing;
    const end = Math.max(...heardOf(take));
    const { part } = this;
    if (part?.number === take.number && part.heard === heardIn(take, part.base, part.base + PLAYED_PART)) {
      this.player.extend(end);
    } else if (take.sound) this.loadPart(take, this.player.now());
    else this.player.load(null, { ...length, growing: true });
  }

  /** Give the player the part of a long take around some moment. */
  async loadPart(take, at) {
    this.asked += 1;
    const { asked, name } = this;
    const base = Math.max(0, at - BEFORE);
    let buffer;
    try {
      const bytes = await soundPart(name, take.number, take.sound.version, base, PLAYED_PART);
      buffer = bytes && (await decode(bytes, RATE));
    } catch {
      return; // the next state brings it
    }
    if (!buffer || asked !== this.asked || name !== this.name || this.playing?.number !== take.number) return;
    let end = Math.max(...heardOf(take));
    if (buffer.duration < PLAYED_PART - 0.1) end = Math.min(end, base + buffer.duration);
    this.part = { number: take.number, base, heard: heardIn(take, base, base + PLAYED_PART) };
    this.player.load(buffer, { growing: this.growing, total: take.seconds, base, end });
    this.onChange(take.number, false);
  }
}
