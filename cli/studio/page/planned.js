// What the forms have in common: fields, a plan that follows what is typed, and the click that makes it.

import { Away, post } from "./api.js";
import { byId, clock, el, fill, lasting, size, span } from "./dom.js";

const PLAN_DELAY = 500; // milliseconds after the last change

export class PlannedForm {
  /**
   * `onMade(name, {listen})` shows a piece that is made, `onAway()` says that the server is away; `player`
   * may begin to sound after the click.
   */
  constructor(main, player, { onMade, onCancel, onAway }) {
    Object.assign(this, { main, player, onMade, onCancel, onAway });
    this.asked = 0;
    this.isShown = false;
  }

  /** What the form asks for, as the server takes it. */
  request() {
    throw new Error("each form has its own");
  }

  /** Whether the piece is to sound as soon as there is something. */
  get listens() {
    return true;
  }

  /** Called when the piece is in the queue. */
  forget() {}

  /** Called when something else is shown. */
  close() {
    this.isShown = false;
    clearTimeout(this.timer);
    this.asked += 1; // an answer that is under way is of no use any more
  }

  /** Show a form of these parts, with its plan and its buttons. */
  fill(label, ...parts) {
    const form = el("form", { id: "request", novalidate: true, onsubmit: (event) => { event.preventDefault(); this.make(); } },
      ...parts,
      el("div", { class: "plan" }, el("p", { id: "plan", role: "status" }, "…"), el("ul", { id: "plan-notes" })),
      el("p", { id: "form-wrong", class: "wrong box", role: "alert", hidden: true }),
      el("div", { class: "row" },
        el("button", { id: "make", type: "submit", class: "primary", "aria-keyshortcuts": "Control+Enter", "data-server": "" }, label),
        el("button", { type: "button", onclick: () => { this.forget(); this.onCancel(); } }, "Back")));
    form.addEventListener("input", () => this.planSoon());
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.make(); }
    });
    fill(this.main, form);
    this.isShown = true;
  }

  field(name, label, input, hint = null) {
    input.id = `f-${name}`;
    if (hint) input.setAttribute("aria-describedby", `h-${name}`);
    return el("div", { class: "field" },
      el("label", { for: `f-${name}` }, label), input,
      hint ? el("small", { id: `h-${name}` }, hint) : null);
  }

  planSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.plan(), PLAN_DELAY);
  }

  /** The server was away, and is back. */
  planAgain() {
    if (this.isShown) this.planSoon();
  }

  async plan() {
    if (!this.isShown) return;
    this.asked += 1;
    const number = this.asked;
    byId("plan").textContent = "Looking at what it takes …";
    try {
      const plan = await post("api/plan", this.request());
      if (number !== this.asked) return;
      byId("form-wrong").hidden = true;
      byId("plan").textContent = this.planText(plan);
      fill(byId("plan-notes"), ...[...plan.joins.map(joinText), ...plan.notes].map((note) => el("li", {}, note)));
    } catch (error) {
      if (number !== this.asked) return;
      byId("plan").textContent = "";
      fill(byId("plan-notes"));
      this.wrong(error);
    }
  }

  planText(plan) {
    const takes = plan.takes > 1 ? `${plan.takes} takes of ` : "";
    const time = plan.seconds === null
      ? "How long it takes is known when nothing else is being made."
      : `It takes about ${lasting(plan.seconds)} here.`;
    const memory = plan.memory_bytes > plan.available_bytes ? ", which may be more than there is" : "";
    return `${takes}${span(plan.music_seconds)} of music. ${time} Memory ${size(plan.memory_bytes)}${memory}, disk ${size(plan.disk_bytes)}.`;
  }

  wrong(error) {
    const box = byId("form-wrong");
    if (!box || !this.isShown || error instanceof Away) return;
    box.textContent = error.message;
    box.hidden = false;
  }

  async make() {
    const button = byId("make");
    if (button.disabled) return;
    this.player.unlock(); // sound may begin by itself when the first of it is there
    button.disabled = true;
    try {
      const { piece } = await post("api/make", this.request());
      this.forget();
      this.onMade(piece, { listen: this.listens });
    } catch (error) {
      button.disabled = false;
      if (error instanceof Away) this.onAway();
      else if (byId("make") === button) this.wrong(error);
    }
  }
}

/** Where two parts of an edited piece meet, in words. */
function joinText({ seconds, moved_seconds: moved, likeness }) {
  const where = moved ? `, moved by ${moved > 0 ? "+" : "−"}${Math.abs(moved).toFixed(3)} s` : "";
  return `Join at ${clock(seconds)}${where}: both sides are ${Math.round(Math.max(likeness, 0) * 100)} % alike.`;
}
