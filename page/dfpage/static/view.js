// What is shown of one recording: verdicts, picture, windows; and what can be heard of it.

import * as api from "./api.js";
import { Picture, windowInWords } from "./picture.js";
import { Player } from "./player.js";
import { windowsTable } from "./tables.js";
import { card, inWords, sharedLimits } from "./verdicts.js";
import { byId, clock, el, figure, plural, short } from "./words.js";

const EMPTY = { windows: [], card: null };

export class View {
  // state: Recordings; trouble(error): the page's program is away.
  constructor(state, trouble) {
    Object.assign(this, { state, trouble, recording: null, heard: null, found: null, said: "" });
    this.picture = new Picture(byId("stage"), byId("base"), byId("overlay"));
    this.player = new Player((seconds) => this.follow(seconds));
    const cursor = byId("cursor");
    cursor.addEventListener("keydown", (event) => this.key(event));
    cursor.addEventListener("click", (event) => this.click(event));
    byId("play").addEventListener("click", () => this.playWindow());
    byId("play-all").addEventListener("click", () => this.playOn());
    byId("stop").addEventListener("click", () => this.player.stop());
    byId("zoom-in").addEventListener("click", () => this.picture.zoom(2));
    byId("zoom-out").addEventListener("click", () => this.picture.zoom(0.5));
    byId("zoom-all").addEventListener("click", () => this.picture.zoom(0));
    for (const kind of ["png", "svg"]) byId(`save-${kind}`).addEventListener("click", () => this.savePicture(kind));
    byId("windows-box").addEventListener("toggle", () => this.drawTable());
  }

  show(recording) {
    if (this.recording === recording && !this.live) return;
    this.forget();
    this.recording = recording;
    byId("shown").hidden = !recording;
    if (!recording) return;
    byId("shown-title").textContent = recording.name;
    this.picture.pick = { track: 0, window: 0 };
    this.update();
    if (!recording.problem) this.load();
  }

  forget() {
    this.abort?.abort();
    this.player.stop();
    Object.assign(this, { recording: null, heard: null, found: null, said: "", audioError: "", live: null, isSearching: false, isChosen: false });
  }

  // While the microphone records: data as Picture.show takes it; verdicts: results by detector, as far as they are.
  showLive(title, data, words) {
    if (!this.live) {
      this.forget();
      byId("shown").hidden = false;
      byId("warnings").hidden = byId("shared-limits").hidden = true;
      byId("shown-title").textContent = title;
    }
    this.live = data;
    byId("facts").textContent = words;
    byId("speech-words").textContent = "";
    byId("verdicts").replaceChildren(...data.tracks.map((track) => el("article", { class: "verdict" }, el("h3", {}, track.name), el("p", { class: "headline" }, track.headline), el("p", {}, track.note))));
    this.picture.data = data;
    this.picture.view(Math.max(data.duration_s - 30, 0), data.duration_s);
    this.enable();
  }

  async load() {
    const { recording } = this, abort = (this.abort = new AbortController());
    try {
      const heard = await api.audio(recording.file, this.parameters(), abort.signal);
      if (abort.signal.aborted) return;
      Object.assign(this, { heard, audioError: "" });
      this.update();
      this.search();
    } catch (error) {
      if (error.name === "AbortError" || abort.signal.aborted) return;
      this.audioError = error.message;
      this.update();
      if (error.mayPass || error.kind === "Locked") this.trouble(error);
    }
  }

  // Where speech is: once the scores are there, which the person waits for.
  async search() {
    const { recording, abort } = this;
    const isFree = this.state.models.length === 0 || this.state.isSettled(recording);
    if (!this.heard || this.isSearching || this.found || !isFree) return;
    this.isSearching = true;
    try {
      await api.speech(recording.file, this.parameters(), abort.signal, (found) => {
        this.found = found;
        byId("speech-words").textContent = speechWords(found, this.heard);
        this.picture.show(this.data(), { keepView: true });
      });
      this.drawTable();
    } catch (error) {
      if (error.name !== "AbortError") this.speechError = error.message;
    } finally {
      if (this.abort === abort) this.isSearching = false;
    }
  }

  // Ask again for what failed because the page's program was away.
  revive() {
    if (this.recording && !this.heard && this.audioError && !this.recording.problem) this.load();
  }

  // The options have changed, and with them perhaps the channel.
  reload() {
    const { recording } = this;
    this.forget();
    this.show(recording);
  }

  parameters() {
    return { name: this.recording.name, channels: this.state.options.channels, track: this.state.options.track };
  }

  results() {
    return this.state.models.map((model) => [model.name, this.recording.problem ? { state: "failed", error: this.recording.problem } : this.state.resultOf(this.recording, model)]);
  }

  data() {
    const results = this.results(), done = results.map(([, result]) => result).find((result) => result.state === "done");
    const tracks = results.map(([name, result]) => (result.state === "done" ? { name, card: result.card, windows: result.windows, note: noteOf(result) } : { name, ...EMPTY, note: inWords(name, result).slice(name.length + 2), isMissing: ["failed", "away"].includes(result.state) }));
    const duration_s = this.heard ? this.heard.samples.length / this.heard.rate_hz : (done?.duration_s ?? 1);
    return { heard: this.heard, speech: this.found?.speech, silence: this.found?.silence, duration_s, tracks };
  }

  update() {
    if (!this.recording) return;
    const results = this.results(), done = results.map(([, result]) => result).find((result) => result.state === "done");
    const shared = sharedLimits(results.map(([, result]) => result));
    byId("facts").textContent = factsOf(this.heard, done);
    const notes = [...new Set([...(done?.warnings ?? []), ...(this.audioError ? [this.audioError] : [])])];
    byId("warnings").hidden = notes.length === 0;
    byId("warnings").replaceChildren(...notes.map((note) => el("li", {}, note)));
    byId("verdicts").replaceChildren(...results.map(([name, result]) => card(name, result, shared)));
    byId("shared-limits").hidden = shared.length === 0;
    byId("shared-limits").replaceChildren(...shared.map((limit) => el("p", {}, limit)));
    byId("speech-words").textContent = speechWords(this.found, this.heard);
    const data = this.data();
    this.pickFirst(data.tracks);
    const isSame = this.picture.data?.duration_s === data.duration_s && this.shownId === this.recording.id;
    this.shownId = this.recording.id;
    this.picture.show(data, { keepView: isSame });
    this.enable();
    this.describe();
    this.drawTable();
    this.announce(results);
    this.search();
  }

  // Until the person selects one, or where what was selected is there no longer: the first window of the first detector.
  pickFirst(tracks) {
    const { track, window } = this.picture.pick;
    if (this.isChosen && tracks[track]?.windows[window]) return;
    this.picture.pick = { track: Math.max(tracks.findIndex((one) => one.windows.length), 0), window: 0 };
  }

  announce(results) {
    if (!this.state.isSettled(this.recording)) return;
    const words = `${this.recording.name}. ${results.map(([name, result]) => inWords(name, result)).join(" ")}`;
    if (words !== this.said) byId("announce").textContent = this.said = words;
  }

  drawTable() {
    if (!this.recording || !byId("windows-box").open) return;
    const tracks = this.data().tracks.filter((track) => track.windows.length);
    const box = byId("windows-scroll"), place = [...box.querySelectorAll("button")].indexOf(document.activeElement);
    const speech = this.found && this.found.done_s >= this.heard.samples.length / this.heard.rate_hz - 0.01 ? this.found.speech : null;
    const shown = this.picture.data.tracks;
    box.replaceChildren(windowsTable(this.recording.name, tracks, (window) => speech && shareOf(window, speech), ({ track, window }) => {
      this.select(shown.findIndex((one) => one.name === tracks[track].name), window);
      this.playWindow();
    }));
    if (place >= 0) box.querySelectorAll("button")[place]?.focus();
  }

  enable() {
    const hasWindow = Boolean(this.picture.picked && this.heard);
    byId("play").disabled = byId("play-all").disabled = !hasWindow;
    for (const kind of ["png", "svg"]) byId(`save-${kind}`).disabled = !this.heard;
    byId("stop").disabled = !this.player.source;
  }

  select(track, window) {
    this.isChosen = true;
    const before = this.picture.pick.track;
    this.picture.select(track, window);
    if (track !== before) this.picture.draw(); // the waveform is shaded by the selected detector
    this.describe();
    this.enable();
  }

  describe() {
    const { data, pick } = this.picture, track = data.tracks[pick.track], cursor = byId("cursor");
    const hasWindows = Boolean(track?.windows.length);
    const words = hasWindows ? windowInWords(track, pick.window) : "no window yet";
    cursor.setAttribute("aria-valuemax", Math.max(track?.windows.length ?? 1, 1));
    cursor.setAttribute("aria-valuenow", pick.window + 1);
    cursor.setAttribute("aria-valuetext", words);
    byId("selected").textContent = hasWindows ? words : "";
  }

  key(event) {
    const { data, pick } = this.picture;
    if (!data || event.ctrlKey || event.metaKey || event.altKey) return;
    const tracks = data.tracks, last = (tracks[pick.track]?.windows.length ?? 0) - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
    const turn = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step && last >= 0) this.select(pick.track, Math.min(Math.max(pick.window + step, 0), last));
    else if (turn) this.turn(turn);
    else if (event.key === "Enter" || event.key === " ") this.player.source ? this.player.stop() : this.playWindow();
    else if (event.key === "+" || event.key === "=") this.picture.zoom(2);
    else if (event.key === "-") this.picture.zoom(0.5);
    else if (event.key === "0") this.picture.zoom(0);
    else return;
    event.preventDefault();
  }

  // To the next detector that has windows, at the same time.
  turn(direction) {
    const { data, pick } = this.picture, middle = this.picture.picked ? (this.picture.picked[0] + this.picture.picked[1]) / 2 : 0;
    for (let track = pick.track + direction; track >= 0 && track < data.tracks.length; track += direction) {
      const { windows } = data.tracks[track];
      if (!windows.length) continue;
      const distance = (window) => Math.abs((window[0] + window[1]) / 2 - middle);
      const nearest = windows.reduce((best, window, index) => (distance(window) < distance(windows[best]) ? index : best), 0);
      this.select(track, nearest);
      return;
    }
  }

  click(event) {
    const place = this.picture.base.getBoundingClientRect(), found = this.picture.data && this.picture.at(event.clientX - place.left, event.clientY - place.top);
    if (!found || this.live) return;
    this.select(found.track, found.window);
    this.playWindow();
  }

  playWindow() {
    const window = this.picture.picked;
    if (window && this.heard) this.player.play(this.heard, window[0], window[1]);
  }

  playOn() {
    const window = this.picture.picked;
    if (window && this.heard) this.player.play(this.heard, window[0], this.picture.data.duration_s);
  }

  follow(seconds) {
    this.picture.playAt(seconds);
    byId("stop").disabled = seconds === null;
  }

  async savePicture(kind) {
    const { recording } = this, done = this.results().filter(([, result]) => result.state === "done");
    const lines = done.map(([name, result]) => {
      const { card: of, row, verdict } = result, threshold = of.threshold === null ? "" : `, threshold ${short(of.threshold)} (${of.threshold_source || "set on unnamed data"})`;
      return `${name} ${of.version}: ${verdict.headline}. Score ${figure(result.score)}, ${result.pool} of ${plural(result.windows.length, "window")}${threshold}; weights ${of.weights}, checkpoint ${of.checkpoint_sha256.slice(0, 12) || "unknown"}, graph ${row.identity}`;
    });
    const blob = await this.picture.blob(kind, recording.name, [...lines, "One model's opinion each, never a proof. Made with dfserve."]);
    save(blob, `${recording.name.split("/").at(-1)}.${kind}`);
  }
}

export function save(blob, name) {
  const address = URL.createObjectURL(blob), link = el("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function noteOf(result) {
  const { card: of } = result, score = `${result.pool} ${figure(result.score)}`;
  return of.threshold === null ? score : `${score}, threshold ${short(of.threshold)}`;
}

function factsOf(heard, done) {
  const facts = heard ? { duration_s: heard.duration_s, rate_hz: heard.source_rate_hz, channels: heard.source_channels } : done && { duration_s: done.duration_s, rate_hz: done.sample_rate_hz, channels: done.channels };
  return facts ? `${clock(facts.duration_s)} · ${facts.rate_hz} Hz · ${plural(facts.channels, "channel")}` : "";
}

function speechWords(found, heard) {
  if (!found || !heard) return heard ? "Speech is looked for when the scores are there." : "";
  const whole = heard.samples.length / heard.rate_hz, isOver = found.done_s >= whole - 0.01;
  const spoken = found.speech.reduce((sum, [from, to]) => sum + to - from, 0);
  return isOver ? `${clock(spoken)} of speech in ${clock(whole)}, by Silero's voice activity detector.` : `Looking for speech: ${clock(found.done_s)} of ${clock(whole)} done.`;
}

function shareOf([from, to], spans) {
  return spans.reduce((sum, [start, stop]) => sum + Math.max(0, Math.min(stop, to) - Math.max(start, from)), 0) / (to - from);
}
