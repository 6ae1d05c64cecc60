// Small helpers for elements. Text always goes in as text: names and lyrics are strangers' words.

/** An element with attributes, `on…` listeners and children (elements or text). */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Put children in the place of what an element holds; the focus stays on what has the same id. */
export function fill(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : null;
  parent.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

export const byId = (id) => document.getElementById(id);

/** 75.25 -> "1:15.2" */
export function clock(seconds, digits = 1) {
  const rounded = Math.max(0, Math.floor(seconds * 10 ** digits + 1e-6) / 10 ** digits);
  const minutes = Math.floor(rounded / 60);
  const rest = (rounded - minutes * 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  return `${minutes}:${rest}`;
}

/** "1:15.2" or "75.2" -> 75.2; null for anything else. */
export function secondsOf(text) {
  const found = /^(?:(\d+):)?(\d*\.?\d+|\d+\.)$/.exec(text.trim());
  return found ? 60 * Number(found[1] || 0) + Number(found[2]) : null;
}

/** A length: as `clock`, to the nearest. */
export function span(seconds, digits = 1) {
  return clock(Math.round(seconds * 10 ** digits) / 10 ** digits, digits);
}

/** A duration in words, for plans. */
export function lasting(seconds) {
  if (seconds < 10) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} minutes`;
  return `${(seconds / 3600).toFixed(1)} hours`;
}

export function size(bytes) {
  for (const [unit, scale] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= scale) return `${(bytes / scale).toPrecision(3)} ${unit}`;
  }
  return `${bytes} bytes`;
}

export const many = (number, one, more = `${one}s`) => `${number} ${number === 1 ? one : more}`;
