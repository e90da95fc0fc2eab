// Wires the page together: the server's state, the chosen detectors, recordings, the microphone, exports.

import * as api from "./api.js";
import { watchIntake } from "./intake.js";
import { Recordings } from "./recordings.js";
import { Session } from "./session.js";
import { RecordingsTable } from "./tables.js";
import { save, View } from "./view.js";
import { byId, el, plural, short, stemOf } from "./words.js";

const ASK_EVERY_MS = 3000;
const known = new Map(); // detectors by name, as the server last described them
const unchosen = new Set();
let server = null;
let session = null;
let asking = null;

const recordings = new Recordings(changed, trouble);
recordings.reasonAway = (name) => {
  if (!server?.is_live) return "the server is away";
  const detector = known.get(name);
  return detector.is_ready ? "" : detector.reason;
};
const view = new View(recordings, trouble);
const table = new RecordingsTable(byId("recordings"), recordings, { show, remove });

// The server

function ask() {
  asking ??= askOnce().finally(() => (asking = null));
  return asking;
}

async function askOnce() {
  try {
    const found = await api.status();
    recordings.limits = { max_bytes: found.max_bytes, max_s: found.max_s };
    server = found;
    found.detectors.forEach((detector) => known.set(detector.name, { ...known.get(detector.name), ...detector }));
    for (const [name, detector] of known) {
      if (!found.is_live) detector.reason = "the server is away";
      const isListed = found.detectors.some((one) => one.name === name);
      if (!isListed) Object.assign(detector, { is_ready: false, takes_streams: false, reason: found.is_live ? "the server no longer has it" : "the server is away" });
    }
    showServer(found.is_live ? "up" : "away", found.is_live ? serverWords(found) : "the detectors' server is away", found.reason);
  } catch (error) {
    server = server && { ...server, is_live: false };
    showServer("away", error.kind === "Locked" ? "locked" : "dfpage is away", error.message);
  }
  showDetectors();
  showLimits();
  if (server?.is_live) {
    recordings.revive();
    view.revive();
  }
}

function serverWords({ url, detectors }) {
  const ready = detectors.filter((detector) => detector.is_ready).length;
  return ready ? `${plural(ready, "detector")} at ${url}` : `the server at ${url} has no detector that is ready`;
}

function showServer(state, words, reason) {
  const pill = byId("server"), banner = byId("banner");
  if (pill.dataset.state !== state || byId("server-words").textContent !== words) {
    pill.dataset.state = state;
    byId("server-words").textContent = words;
  }
  const text = state === "away" ? reason || words : "";
  if (banner.dataset.text === text) return;
  banner.dataset.text = text;
  banner.hidden = !text;
  banner.replaceChildren(...(text ? [el("p", {}, `${text}.`.replace(/\.\.$/, ".")), el("p", {}, "What is here stays. This page asks again every few seconds, and scores what is waiting when it is back.")] : []));
}

function trouble() {
  ask();
}

// Detectors

function showDetectors() {
  const found = [...known.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const models = found.filter((detector) => !unchosen.has(detector.name));
  const key = JSON.stringify(found);
  if (key === showDetectors.key) return;
  showDetectors.key = key;
  const focused = document.activeElement?.id;
  byId("detectors").replaceChildren(el("legend", {}, "Detectors"), ...(found.length ? found.map(choice) : [el("p", { class: "hint" }, server?.is_live ? "none: build one with dfexport build" : "none: the server has not answered yet")]));
  if (focused?.startsWith("detector-")) byId(focused)?.focus();
  choose(models);
  recordings.list.forEach((recording) => table.update(recording)); // what waits now says for what
  view.update();
  showProgress();
}

function choice(detector) {
  const id = `detector-${detector.name}`;
  const words = detector.is_ready ? aboutModel(detector) : `away: ${detector.reason}`;
  const box = el("input", { type: "checkbox", id, checked: !unchosen.has(detector.name), "aria-describedby": `${id}-about` });
  box.addEventListener("change", () => {
    if (box.checked) unchosen.delete(detector.name);
    else unchosen.add(detector.name);
    choose([...known.values()].filter((one) => !unchosen.has(one.name)).sort((a, b) => (a.name < b.name ? -1 : 1)));
  });
  return el("div", { class: "detector" }, box, el("div", {}, el("label", { class: "name", for: id }, detector.name), el("span", { id: `${id}-about`, class: detector.is_ready && !detector.is_random ? "hint" : "hint away" }, words)));
}

function aboutModel({ is_random, window_s, threshold, takes_streams }) {
  const parts = [is_random ? "RANDOM WEIGHTS: its scores mean nothing" : threshold === null ? "no threshold" : `threshold ${short(threshold)}`, `window ${window_s.toFixed(2)} s`];
  return [...parts, takes_streams ? "live" : "not live"].join(" · ");
}

function choose(models) {
  const names = (list) => list.map(({ name }) => name).join();
  const isSame = names(models) === names(recordings.models);
  recordings.models = models;
  if (!isSame) {
    table.build();
    view.update();
    showExports();
    showProgress();
    recordings.pump();
  }
}

// Recordings

function take(files, others) {
  const before = recordings.list.length;
  const added = recordings.add(files);
  if (!files.length) say(others ? `no recordings among ${plural(others, "file")}` : "no files");
  else say(`${plural(recordings.list.length - before, "recording")} added${others ? `, ${plural(others, "other file")} passed over` : ""}`);
  if (added.length) show(added[0]);
  recordings.pump();
}

function say(text) {
  byId("announce").textContent = text;
  byId("limits").dataset.said = text;
  showLimits();
}

function showLimits() {
  const limits = recordings.limits, said = byId("limits").dataset.said;
  const words = limits ? `Each at most ${limits.max_bytes / 1e6} MB and ${plural(Math.round(limits.max_s / 6) / 10, "minute")}. Nothing is kept.` : "";
  byId("limits").textContent = said ? `${words} Last: ${said}.` : words;
}

function changed(recording) {
  byId("listing").hidden = recordings.list.length === 0;
  byId("intake").classList.toggle("small", recordings.list.length > 0);
  table.update(recording);
  showProgress();
  if (recording === view.recording) view.update();
  showExports();
}

function showProgress() {
  const { pending, away, list, models } = recordings, all = plural(list.length, "recording");
  const words = !list.length ? "" : !models.length ? `${all}, and no detector to score with` : pending ? `${list.length - pending} of ${all} done` : away ? all : `${all}, all done`;
  byId("progress").textContent = away && models.length && list.length ? `${words}; ${away} of them ${away === 1 ? "waits" : "wait"} for a detector that is away` : words;
}

function show(recording) {
  recordings.first = recording;
  table.show(recording);
  view.show(recording);
}

function remove(recording) {
  const index = recordings.list.indexOf(recording);
  recordings.remove(recording);
  table.update(recording);
  const next = recordings.list[Math.min(index, recordings.list.length - 1)];
  changed(recording);
  if (recording === view.recording) show(next ?? null);
  (next ? table.rows.get(next).querySelector("button") : byId("choose-files")).focus();
}

byId("clear").addEventListener("click", () => {
  const all = recordings.list;
  all.forEach((recording) => recordings.remove(recording));
  all.forEach((recording) => table.update(recording));
  show(null);
  changed(all[0]);
  byId("choose-files").focus();
});

for (const id of ["hop", "pool", "channels", "track"]) {
  byId(id).addEventListener("change", () => {
    recordings.restart(optionsOf());
    view.reload();
  });
}

function optionsOf() {
  return { hop: byId("hop").value, pool: byId("pool").value, channels: byId("channels").value, track: byId("track").value.trim() };
}

// Exports: a score file holds the rows of one detector

function showExports() {
  const models = recordings.models.filter((model) => scoredBy(model.name).length);
  const key = models.map(({ name }) => name).join();
  if (key === showExports.key) return;
  showExports.key = key;
  const buttons = models.map(({ name }) => el("button", { type: "button", "aria-label": `Score rows of ${name} as CSV`, onclick: () => saveRows(name) }, name));
  byId("row-exports").replaceChildren(...(buttons.length ? [el("span", { class: "hint" }, "Score rows (CSV):"), ...buttons] : []));
}

const scoredBy = (name) => recordings.list.filter((recording) => recording.results.get(name)?.state === "done");

async function saveRows(name) {
  const stems = recordings.list.map((recording) => stemOf(recording.name));
  const isAlone = (stem) => stems.filter((one) => one === stem).length === 1;
  const rows = scoredBy(name).map((recording) => {
    const { row } = recording.results.get(name);
    return { ...row, path: recording.name, utt_id: isAlone(stemOf(recording.name)) ? stemOf(recording.name) : recording.name };
  });
  try {
    save(await api.rows(rows), `${name}.csv`);
  } catch (error) {
    say(`the rows could not be written: ${error.message}`);
    ask();
  }
}

// The microphone

const recordButton = byId("record");
recordButton.addEventListener("click", () => (session ? endSession() : beginSession()));

async function beginSession() {
  recordButton.disabled = true;
  try {
    show(null);
    session = await Session.begin(recordings.models.filter((model) => model.is_ready), optionsOf(), recordings.limits, view);
    session.overdue = endSession;
    say("recording");
  } catch (error) {
    say(error.message);
  } finally {
    recordButton.disabled = false;
    showRecording();
  }
}

async function endSession() {
  const ended = session;
  if (!ended) return;
  session = null;
  recordButton.disabled = true;
  const file = await ended.end();
  recordButton.disabled = false;
  showRecording();
  if (file) take([{ file, name: file.name }], 0);
  else {
    view.show(null);
    say("nothing was recorded");
  }
}

function showRecording() {
  recordButton.setAttribute("aria-pressed", String(Boolean(session)));
  recordButton.textContent = session ? "■ End the recording" : "Use the microphone";
}

recordings.options = optionsOf();
watchIntake(take, () => server?.suffixes ?? []);
ask();
setInterval(() => document.hidden || ask(), ASK_EVERY_MS);
document.addEventListener("visibilitychange", () => document.hidden || ask());
