// One player for everything. A snapshot of a growing take replaces the one before it under the
// listener: the new sound starts at the same place, and both fade into each other. Of long takes that
// grow only a part is here; the next one is asked for in time, and comes in the same way.

const FADE = 0.02; // seconds
const AHEAD = 0.02; // between deciding to start a sound and its start
const LONG = 60; // seconds; longer takes are never decoded whole
const NEXT_PART = 15; // seconds before the end of a part at which the next one is asked for

/** Decode without an AudioContext, which may not exist before the first click. */
export function decode(bytes, rate) {
  return new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
}
export const isLong = (seconds) => seconds > LONG;

export class Player extends EventTarget {
  constructor() {
    super();
    this.context = null;
    this.buffer = null;
    this.base = 0; // seconds of the take at which the buffer begins
    this.end = 0; // seconds of the take that there are; more than the buffer holds, of a long one
    this.element = null; // for long finished takes
    this.source = null;
    this.playing = false; // what the listener wants; at the end of a snapshot it waits for more
    this.position = 0; // where it stands while no source runs
    this.growing = false;
    this.total = 0; // seconds of the take when it is complete
    this.repeat = false;
    this.stretch = null; // [begin, end] while only that is listened to
    this.swaps = 0;
  }

  /** To be called in a click or key handler: browsers let sound begin only there. */
  unlock() {
    if (!this.context) {
      this.context = new AudioContext();
      this.analyser = new AnalyserNode(this.context, { fftSize: 2048 });
      this.analyser.connect(this.context.destination);
    }
    if (this.context.state !== "running") this.context.resume();
  }

  get duration() {
    if (this.element) return this.element.duration || 0;
    return this.buffer ? this.end : 0;
  }

  /** Seconds of the take that can be played at once: all, but of a long one that grows. */
  get partEnd() {
    return this.base + this.buffer.duration;
  }

  /** Seconds from the beginning of the take. */
  now() {
    if (this.element) return this.element.currentTime;
    if (!this.source) return this.buffer ? Math.min(this.position, this.duration) : this.position;
    const played = Math.max(0, this.context.currentTime - this.startedAt);
    return Math.min(this.startedFrom + played, this.partEnd, this.duration);
  }

  /** Whether something is heard right now. */
  get sounding() {
    return this.playing && Boolean(this.element ? !this.element.paused : this.source);
  }

  /** Loudness of what is heard now: root of the mean square. */
  rms() {
    if (!this.context) return 0;
    const samples = new Float32Array(this.analyser.fftSize);
    this.analyser.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, one) => sum + one * one, 0) / samples.length);
  }

  /**
   * Put a sound in the place of the one that is there, at the same position. `buffer` may be a part
   * that begins at `base` seconds of a sound that goes on to `end`.
   */
  load(buffer, { growing = false, total = 0, base = 0, end = null } = {}) {
    const at = this.now();
    this.dropElement();
    this.growing = growing;
    this.total = total;
    this.base = base;
    this.end = end ?? (buffer ? buffer.duration : 0);
    if (this.buffer) this.swaps += 1;
    this.buffer = buffer;
    this.position = at;
    if (this.playing) this.start(at);
    this.tell();
  }

  /** There is more of a long take than before, and the part that is here is as it was. */
  extend(end) {
    this.end = end;
    if (this.playing && !this.source && this.position < end - 0.01) this.want(this.position);
    this.tell();
  }

  /** Play a long finished take from its address. */
  loadLong(address) {
    const at = this.now();
    this.halt();
    this.dropElement();
    this.buffer = null;
    this.base = this.end = 0;
    this.growing = false;
    this.element = new Audio(address);
    this.element.addEventListener("loadedmetadata", () => this.tell(), { once: true });
    this.element.addEventListener("ended", () => this.finish());
    this.element.currentTime = at;
    if (this.playing) this.start(at);
    this.tell();
  }

  dropElement() {
    this.element?.pause();
    this.element = null;
  }

  clear() {
    this.halt();
    this.dropElement();
    this.buffer = null;
    this.base = this.end = 0;
    this.stretch = null;
    this.position = 0;
    this.playing = false;
    this.tell();
  }

  start(from) {
    if (this.element) {
      this.wire();
      this.element.currentTime = from;
      this.element.play();
      return;
    }
    if (!this.context || !this.buffer) return;
    clearTimeout(this.timer);
    if (from >= this.duration - 0.005) {
      this.halt();
      this.position = this.duration;
      if (!this.waits) this.finish();
      return;
    }
    if (from < this.base || from >= this.partEnd - 0.005) { // it is in another part
      this.halt();
      this.position = from;
      this.want(from);
      return;
    }
    const begin = this.context.currentTime + AHEAD;
    const old = this.source;
    const place = old ? from + AHEAD : from;
    const gain = new GainNode(this.context, { gain: 0 });
    const source = new AudioBufferSourceNode(this.context, { buffer: this.buffer });
    source.connect(gain).connect(this.analyser);
    gain.gain.setValueAtTime(0, begin);
    gain.gain.linearRampToValueAtTime(1, begin + FADE);
    source.start(begin, Math.min(place - this.base, this.buffer.duration));
    source.addEventListener("ended", () => {
      if (this.source === source) this.arrive();
    });
    if (old) this.fadeOut(old, begin);
    source.gain = gain;
    this.source = source;
    this.startedAt = begin;
    this.startedFrom = place;
    if (this.partEnd < this.duration - 0.1) {
      const left = Math.max(0, this.partEnd - NEXT_PART - place);
      this.timer = setTimeout(() => this.source === source && this.want(this.now()), 1000 * left);
    }
  }

  /** Ask whoever loads sounds for the part around some moment. */
  want(seconds) {
    this.dispatchEvent(new CustomEvent("want", { detail: seconds }));
  }

  wire() {
    if (this.element.wired) return;
    this.element.wired = true;
    this.context.createMediaElementSource(this.element).connect(this.analyser);
  }

  fadeOut(source, begin) {
    source.gain.gain.cancelScheduledValues(begin);
    source.gain.gain.setValueAtTime(1, begin);
    source.gain.gain.linearRampToValueAtTime(0, begin + FADE);
    source.stop(begin + FADE);
  }

  /** The sound came to its end: of the take, or of what there is of it yet. */
  arrive() {
    this.source = null;
    this.position = Math.min(this.partEnd, this.duration);
    if (this.position < this.duration - 0.01) this.want(this.position);
    else if (this.waits) this.tell();
    else this.finish();
  }

  /** Whether more of the take is to come after the end of what is there. */
  get waits() {
    return this.growing && this.duration < this.total - 0.1;
  }

  finish() {
    if (this.repeat && this.playing && this.duration) {
      this.source = null;
      this.position = this.stretch ? this.stretch[0] : 0;
      this.start(this.position);
      this.tell();
      return;
    }
    this.stretch = null;
    this.playing = false;
    this.source = null;
    this.position = 0;
    if (this.element) this.element.currentTime = 0;
    this.tell();
  }

  halt() {
    if (this.source) {
      const source = this.source;
      this.source = null;
      this.fadeOut(source, this.context.currentTime);
    }
  }

  play() {
    this.unlock();
    this.playing = true;
    const at = this.now();
    this.start(!this.waits && at >= this.duration - 0.005 ? 0 : at);
    this.tell();
  }

  pause() {
    this.stretch = null;
    this.position = this.now();
    this.playing = false;
    this.element?.pause();
    this.halt();
    this.tell();
  }

  /** Play from one moment to another. */
  playStretch(begin, end) {
    this.unlock();
    this.playing = true;
    this.seek(begin);
    if (this.element) this.start(begin);
    this.stretch = [begin, end];
    this.tell();
  }

  /** To be asked now and then: stop at the end of a stretch, or begin it again. */
  checkStretch() {
    if (!this.stretch || this.now() < this.stretch[1]) return;
    if (this.repeat) this.playStretch(...this.stretch);
    else this.pause();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** Go to a moment of the take; where no sound is here yet, it begins there when it comes. */
  seek(seconds) {
    const at = Math.max(0, Math.min(seconds, this.duration || Infinity));
    this.stretch = null;
    if (this.element) this.element.currentTime = at;
    else if (this.source) this.start(at);
    else {
      this.position = at;
      if (this.playing) this.start(at);
    }
    this.tell();
  }

  tell() {
    this.dispatchEvent(new Event("change"));
  }
}
