// The recordings of this page, and the queue that has each scored by each chosen detector.

import * as api from "./api.js";

const AT_ONCE = 3;

export class Recordings {
  // changed(recording): something about one recording is new. trouble(error): the server or the page's program is away.
  constructor(changed, trouble) {
    Object.assign(this, { changed, trouble, list: [], models: [], options: {}, limits: null, first: null });
    this.reasonAway = () => "no server has answered yet"; // of a detector by its name; "" when it is there
    this.working = 0;
    this.numbers = 0;
  }

  // Files as { file, name }; those that are here already are passed over. Returns the recordings.
  add(files) {
    return files.map(({ file, name }) => {
      const twin = this.list.find((one) => one.given === name && one.file.size === file.size && one.file.lastModified === file.lastModified);
      if (twin) return twin;
      const taken = new Set(this.list.map((one) => one.name));
      let unique = name;
      for (let n = 2; taken.has(unique); n++) unique = name.replace(/(\.[^./]*)?$/, ` (${n})$1`);
      const recording = { id: ++this.numbers, file, given: name, name: unique, results: new Map(), problem: this.problemOf(file) };
      this.list.push(recording);
      this.changed(recording);
      return recording;
    });
  }

  remove(recording) {
    this.list = this.list.filter((one) => one !== recording);
    for (const result of recording.results.values()) result.abort?.abort();
  }

  problemOf(file) {
    if (file.size === 0) return "expected audio, found an empty file";
    const { max_bytes } = this.limits ?? {};
    if (max_bytes && file.size > max_bytes) {
      return `expected a file of at most ${max_bytes / 1e6} MB, found ${(file.size / 1e6).toFixed(1)} MB: use dfclient score, which has no such limit`;
    }
    return "";
  }

  // Everything anew, by other options.
  restart(options) {
    this.options = options;
    for (const recording of this.list) {
      for (const result of recording.results.values()) result.abort?.abort();
      recording.results.clear();
      this.changed(recording);
    }
    this.pump();
  }

  // What one detector is asked for one recording: the state is waiting, running, away, failed or done.
  resultOf(recording, model) {
    const reason = this.reasonAway(model.name);
    return recording.results.get(model.name) ?? (reason ? { state: "away", error: reason } : { state: "waiting" });
  }

  parametersOf(recording, model) {
    const { hop, pool, channels, track } = this.options;
    const share = { half: 2, quarter: 4 }[hop];
    return { name: recording.name, model: model.name, hop: share ? model.window_s / share : hop, pool, channels, track };
  }

  isSettled(recording) {
    const over = (model) => ["done", "failed", "away"].includes(this.resultOf(recording, model).state);
    return Boolean(recording.problem) || (this.models.length > 0 && this.models.every(over));
  }

  get pending() {
    return this.list.filter((recording) => !this.isSettled(recording)).length;
  }

  get away() {
    const isAway = (recording) => !recording.problem && this.models.some((model) => this.resultOf(recording, model).state === "away");
    return this.list.filter(isAway).length;
  }

  // Ask again for what was away and is back.
  revive() {
    for (const recording of this.list) {
      for (const model of this.models) {
        if (this.resultOf(recording, model).state === "away" && !this.reasonAway(model.name)) recording.results.delete(model.name);
      }
    }
    this.pump();
  }

  pump() {
    while (this.working < AT_ONCE) {
      const job = this.next();
      if (!job) return;
      this.work(...job);
    }
  }

  next() {
    const order = this.first && this.list.includes(this.first) ? [this.first, ...this.list] : this.list;
    for (const recording of order) {
      if (recording.problem) continue;
      for (const model of this.models) {
        if (this.resultOf(recording, model).state === "waiting") return [recording, model];
      }
    }
    return null;
  }

  async work(recording, model) {
    const abort = new AbortController();
    const put = (result) => {
      if (abort.signal.aborted) return;
      recording.results.set(model.name, result);
      this.changed(recording, model.name);
    };
    recording.results.set(model.name, { state: "running", abort });
    this.changed(recording, model.name);
    this.working++;
    try {
      put({ state: "done", ...(await api.score(recording.file, this.parametersOf(recording, model), abort.signal)) });
    } catch (error) {
      if (error.name !== "AbortError") {
        put({ state: error.mayPass ? "away" : "failed", error: error.message, kind: error.kind });
        if (error.mayPass || error.kind === "Locked") this.trouble(error);
      }
    } finally {
      this.working--;
      this.pump();
    }
  }
}
