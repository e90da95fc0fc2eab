// The table of recordings, which sorts, and the table of one recording's windows.

import { clock, el, figure, isUnder, plural } from "./words.js";
import { markOf } from "./verdicts.js";

export class RecordingsTable {
  // actions: { show(recording), remove(recording) }; state: Recordings.
  constructor(table, state, actions) {
    Object.assign(this, { table, state, actions, rows: new Map(), sort: null });
    this.body = el("tbody");
  }

  // Columns anew: the chosen detectors have changed.
  build() {
    const columns = [["name", "Recording"], ["length", "Length"], ...this.state.models.map(({ name }) => [`score ${name}`, name]), ["notes", "Notes"]];
    if (this.sort && !columns.some(([key]) => key === this.sort.key)) this.sort = null;
    this.heads = columns.map(([key, text]) => el("th", { scope: "col", "aria-sort": "none", "data-key": key }, el("button", { type: "button", onclick: () => this.sortBy(key) }, text)));
    this.rows.clear();
    this.body.replaceChildren();
    this.table.replaceChildren(el("caption", { class: "visually-hidden" }, "Recordings with the score of each detector; the column heads sort"), el("thead", {}, el("tr", {}, ...this.heads, el("td"))), this.body);
    this.state.list.forEach((recording) => this.update(recording));
    this.order();
  }

  update(recording) {
    if (!this.state.list.includes(recording)) {
      this.rows.get(recording)?.remove();
      this.rows.delete(recording);
      return;
    }
    const row = el(
      "tr",
      { class: recording === this.current ? "current" : null },
      el("th", { scope: "row" }, el("button", { type: "button", class: "link", "aria-current": recording === this.current ? "true" : null, onclick: () => this.actions.show(recording) }, recording.name)),
      el("td", { class: "figure" }, lengthOf(recording) === null ? "" : clock(lengthOf(recording))),
      ...this.state.models.map((model) => this.cell(recording, model)),
      el("td", { class: "notes" }, notesOf(recording)),
      el("td", { class: "remove" }, el("button", { type: "button", "aria-label": `Remove ${recording.name}`, onclick: () => this.actions.remove(recording) }, "✕")),
    );
    const old = this.rows.get(recording);
    // A row that is drawn anew keeps the keyboard's place.
    const place = old?.contains(document.activeElement) ? [...old.querySelectorAll("button")].indexOf(document.activeElement) : -1;
    if (old) old.replaceWith(row);
    else this.body.append(row);
    if (place >= 0) row.querySelectorAll("button")[place]?.focus();
    this.rows.set(recording, row);
  }

  cell(recording, model) {
    const result = recording.problem ? { state: "failed" } : this.state.resultOf(recording, model);
    if (result.state === "done") {
      const { side, headline } = result.verdict;
      return el("td", { class: "figure" }, el("span", { class: `mark ${side}`, "aria-hidden": "true" }, `${markOf(side)} `), side === "random" ? el("s", {}, figure(result.score)) : figure(result.score), el("span", { class: "visually-hidden" }, ` ${headline}`));
    }
    const words = { failed: "not scored", away: "away", running: "scoring …", waiting: "waiting" }[result.state];
    return el("td", { class: result.state === "away" || result.state === "failed" ? "away" : "hint" }, words);
  }

  show(recording) {
    const before = this.current;
    this.current = recording;
    [before, recording].forEach((one) => one && this.update(one));
  }

  sortBy(key) {
    const descending = this.sort?.key === key && !this.sort.descending;
    this.sort = { key, descending };
    this.order();
  }

  order() {
    for (const head of this.heads) {
      const isIt = head.dataset.key === this.sort?.key;
      head.setAttribute("aria-sort", isIt ? (this.sort.descending ? "descending" : "ascending") : "none");
    }
    if (!this.sort) return;
    const { key, descending } = this.sort;
    const rows = [...this.rows].map(([recording, row]) => ({ row, value: this.valueOf(recording, key) }));
    // What has no value comes last, whichever way the others lie.
    rows.sort((a, b) => (a.value === null) - (b.value === null) || (descending ? -1 : 1) * compared(a.value, b.value));
    this.body.append(...rows.map(({ row }) => row));
  }

  valueOf(recording, key) {
    if (key === "name") return recording.name;
    if (key === "length") return lengthOf(recording);
    if (key === "notes") return notesOf(recording) || null;
    const result = recording.results.get(key.replace(/^score /, ""));
    return result?.state === "done" ? result.score : null;
  }
}

function compared(a, b) {
  return typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
}

const done = (recording) => [...recording.results.values()].find((result) => result.state === "done");

export const lengthOf = (recording) => done(recording)?.duration_s ?? null;

export function notesOf(recording) {
  const failed = [...recording.results.values()].find((result) => result.state === "failed");
  return recording.problem || failed?.error || (done(recording)?.warnings ?? []).join("; ");
}

// Windows of each detector, those that begin together in one row. speechOf(window): share of speech, or null.
export function windowsTable(name, tracks, speechOf, hear) {
  const starts = new Map();
  tracks.forEach((track, number) => track.windows.forEach((window, index) => {
    const key = window[0].toFixed(6);
    if (!starts.has(key)) starts.set(key, { window, cells: new Map(), first: { track: number, window: index } });
    starts.get(key).cells.set(number, window);
  }));
  const rows = [...starts.values()].sort((a, b) => a.window[0] - b.window[0]);
  const head = ["From", "To", ...tracks.map((track) => (track.card?.is_random ? `${track.name} (random weights)` : track.name)), "Speech"];
  return el(
    "table",
    {},
    el("caption", {}, `${plural(rows.length, "window")} of ${name}`),
    el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)), el("td"))),
    el("tbody", {}, ...rows.map(({ window, cells, first }) => el(
      "tr",
      {},
      el("th", { scope: "row", class: "figure" }, clock(window[0])),
      el("td", { class: "figure" }, clock(window[1])),
      ...tracks.map((track, number) => scoreCell(track, cells.get(number))),
      el("td", { class: "figure" }, speechOf(window) === null ? "" : `${Math.round(100 * speechOf(window))} %`),
      el("td", { class: "hear" }, el("button", { type: "button", "aria-label": `Hear ${clock(window[0])} to ${clock(window[1])}`, onclick: () => hear(first) }, "▶")),
    ))),
  );
}

function scoreCell(track, window) {
  if (!window) return el("td");
  if (track.card.threshold === null) return el("td", { class: "figure" }, figure(window[2]));
  const side = isUnder(window, track.card) ? "below" : "above";
  return el("td", { class: "figure" }, el("span", { class: `mark ${side}`, "aria-hidden": "true" }, `${markOf(side)} `), figure(window[2]), el("span", { class: "visually-hidden" }, ` ${side} the threshold`));
}
