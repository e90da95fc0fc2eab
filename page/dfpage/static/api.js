// What the page asks of its own server.

export class ApiError extends Error {
  // kind: the error's class at the server; "Gone" when the page's own program does not answer, "Locked" without a token.
  constructor(text, kind, status) {
    super(text);
    this.kind = kind;
    this.status = status;
  }

  // Whether the detectors' server, or one of its models, is away and may come back.
  get mayPass() {
    return this.status === 503 || this.kind === "Gone";
  }
}

async function asked(path, parameters = {}, options = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined));
  let response;
  try {
    response = await fetch(`${path}?${query}`, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("dfpage, the program behind this page, does not answer: start it again", "Gone", 0);
  }
  if (response.status === 403) {
    throw new ApiError("dfpage was started anew: open the address that it printed", "Locked", 403);
  }
  if (!response.ok) {
    const found = await response.json().catch(() => ({ error: `dfpage answered with status ${response.status}`, kind: "" }));
    throw new ApiError(found.error, found.kind, response.status);
  }
  return response;
}

const upload = (path, file, parameters, signal) => asked(path, parameters, { method: "POST", body: file, signal });

export const status = async () => (await asked("/api/status")).json();

export const score = async (file, parameters, signal) => (await upload("/api/score", file, parameters, signal)).json();

// The audio as the detectors hear it: { samples: Int16Array, rate_hz, peak, duration_s, … }.
export async function audio(file, parameters, signal) {
  const content = await (await upload("/api/audio", file, parameters, signal)).arrayBuffer();
  const length = new DataView(content).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, length)));
  return { ...header, samples: new Int16Array(content, 4 + length) };
}

// Tells `follow` where speech is, again and again until all is done.
export async function speech(file, parameters, signal, follow) {
  const response = await upload("/api/speech", file, parameters, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const lines = text.split("\n");
    text = lines.pop();
    if (lines.length) follow(JSON.parse(lines.at(-1)));
  }
}

export const rows = async (list) => (await asked("/api/rows", {}, { method: "POST", body: JSON.stringify(list) })).blob();

// A live stream of one detector; `hear` takes its messages (live.py). Returns what sends audio and ends it.
export function listen(parameters, rateHz, hear) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined));
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/api/live?${query}`);
  const early = [JSON.stringify({ rate_hz: rateHz })];
  let isOver = false;
  const send = (message) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(message);
    else if (socket.readyState === WebSocket.CONNECTING) early.push(message);
  };
  const finish = (message) => {
    if (isOver) return;
    isOver = true;
    hear(message);
  };
  socket.addEventListener("open", () => early.splice(0).forEach((message) => socket.send(message)));
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    if (message.result || message.error) finish(message);
    else hear(message);
  });
  socket.addEventListener("close", () => finish({ error: "the connection to dfpage was lost" }));
  return { send, end: () => send("end"), close: () => { isOver = true; socket.close(); } };
}
