// A recording by the microphone, with the scores of each detector that takes streams while it lasts.

import * as api from "./api.js";
import { Microphone } from "./microphone.js";
import { clock, figure, plural } from "./words.js";

const CALM_MS = 1000, LIVELY_MS = 200;

export class Session {
  // models: the chosen detectors; view: shows it; limits: { max_s }; options: as recordings are cut.
  static async begin(models, options, limits, view) {
    const session = new Session(models, options, limits, view);
    session.microphone = await Microphone.open((chunk) => session.hear(chunk));
    session.listen();
    return session;
  }

  constructor(models, options, limits, view) {
    Object.assign(this, { models, options, limits, view, streams: [], isOver: false });
  }

  listen() {
    const { rate_hz } = this.microphone;
    this.streams = this.models.map((model) => {
      const stream = { model, windows: [], pooled: null, isAbove: null, error: "", isAway: false, isDone: false };
      if (!model.takes_streams) {
        Object.assign(stream, { error: "it takes no live audio: it scores the recording when that has ended", isDone: true });
        return stream;
      }
      const share = { half: 2, quarter: 4 }[this.options.hop];
      const hop = share ? model.window_s / share : this.options.hop;
      stream.socket = api.listen({ model: model.name, hop, pool: this.options.pool }, rate_hz, (message) => this.take(stream, message));
      return stream;
    });
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.timer = setInterval(() => this.draw(), calm ? CALM_MS : LIVELY_MS);
    this.draw();
  }

  hear(chunk) {
    this.streams.forEach((stream) => !stream.isDone && stream.socket.send(chunk));
    if (this.limits && this.microphone.duration_s >= this.limits.max_s) this.overdue?.();
  }

  take(stream, message) {
    if (message.window) {
      stream.windows.push(message.window);
      stream.pooled = message.pooled;
      stream.isAbove = message.is_above;
    } else if ("is_connected" in message) stream.isAway = !message.is_connected;
    else {
      stream.isDone = true;
      stream.error = message.error ? `live scores have ended: ${message.error}; the recording goes on` : "";
      if (message.result) stream.result = message.result;
    }
    if (!this.isOver) this.draw();
  }

  draw() {
    const { duration_s, heard } = this.microphone;
    const tracks = this.streams.map((stream) => ({ name: stream.model.name, card: stream.model, windows: stream.windows, headline: headlineOf(stream), note: noteOf(stream) }));
    this.view.showLive("Microphone", { heard, duration_s: Math.max(duration_s, 1), tracks }, `Recording: ${clock(duration_s)}`);
  }

  // Stop, and give what was recorded as a file.
  async end() {
    this.isOver = true;
    clearInterval(this.timer);
    await this.microphone.stop();
    this.streams.forEach((stream) => !stream.isDone && stream.socket.end());
    const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    return this.microphone.length ? this.microphone.wav(`microphone-${stamp}.wav`) : null;
  }
}

function headlineOf({ windows, pooled, isAbove, model }) {
  if (!windows.length) return "No window yet";
  if (model.is_random) return "Random weights: means nothing";
  const side = isAbove === null ? "" : isAbove ? "▲ above the threshold, " : "▼ below the threshold, ";
  return `So far ${side}${figure(pooled)}`;
}

function noteOf({ windows, error, isAway, model }) {
  if (error) return error;
  if (isAway) return "the server is away; connecting again";
  return windows.length ? `${plural(windows.length, "window")} scored` : `the first comes after ${model.window_s.toFixed(1)} s`;
}
