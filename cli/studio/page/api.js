// Talking to the server. Addresses are relative: the page may live below a secret path.

/** An error whose message is the server's sentence. */
export class Refused extends Error {}
/** The server did not answer. */
export class Away extends Error {}

async function answered(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Away("the studio does not answer");
  }
  return response;
}

async function sentence(response) {
  try {
    return (await response.json()).error || response.statusText;
  } catch {
    return `the studio answered ${response.status}`;
  }
}

export async function get(path) {
  const response = await answered(path);
  if (!response.ok) throw new Refused(await sentence(response));
  return response.json();
}

export async function post(path, body = {}) {
  const raw = body instanceof Blob;
  const response = await answered(path, {
    method: "POST",
    headers: { "X-Studio": "1", ...(raw ? {} : { "Content-Type": "application/json" }) },
    body: raw ? body : JSON.stringify(body),
  });
  if (!response.ok) throw new Refused(await sentence(response));
  return response.json();
}

export const piecePath = (name, rest) => `api/pieces/${encodeURIComponent(name)}/${rest}`;
export const soundPath = (name, take, version) =>
  `${piecePath(name, `takes/${take}/sound`)}?v=${encodeURIComponent(version)}`;
export const partPath = (name, take, version, from, seconds) =>
  `${piecePath(name, `takes/${take}/part`)}?from=${from}&seconds=${seconds}&v=${encodeURIComponent(version)}`;

/** The bytes of a part of a take's sound; null if it is gone. */
export async function soundPart(name, take, version, from, seconds) {
  const response = await answered(partPath(name, take, version, from, seconds));
  return response.ok ? response.arrayBuffer() : null;
}

/** The bytes of a take's sound; null if it is gone (a snapshot that was replaced meanwhile). */
export async function sound(name, take, version) {
  const response = await answered(soundPath(name, take, version));
  return response.ok ? response.arrayBuffer() : null;
}
