// A recording's verdict by each detector, in words.

import { el, figure, plural, short } from "./words.js";

const MARKS = { above: "▲", below: "▼", none: "○", random: "⚠", failed: "✕" };

export const markOf = (side) => MARKS[side];

// In one sentence, for the live region and under the picture.
export function inWords(name, result) {
  if (result.state === "done") {
    const { verdict, score } = result;
    return verdict.side === "random" ? `${name}: ${verdict.headline}.` : `${name}: ${verdict.headline}, score ${figure(score)}.`;
  }
  return { failed: `${name}: not scored, ${result.error}.`, away: `${name}: away.` }[result.state] ?? `${name}: being scored.`;
}

export function card(name, result, shared) {
  if (result.state === "done") return scored(name, result, shared);
  if (result.state === "failed") return plain(name, "failed", "✕ Not scored", result.error);
  if (result.state === "away") return plain(name, "failed", "Away", `${result.error[0].toUpperCase()}${result.error.slice(1)}. It is asked again when it is back.`);
  return plain(name, "waiting", "Scoring …", "");
}

// Limits that all scored detectors have in common are said once.
export function sharedLimits(results) {
  const [first, ...others] = results.filter((result) => result.state === "done" && result.verdict.side !== "random").map((result) => result.verdict.limits);
  return others.length ? first.filter((limit) => others.every((limits) => limits.includes(limit))) : [];
}

function plain(name, kind, headline, text) {
  return el("article", { class: `verdict ${kind}` }, el("h3", {}, name), el("p", { class: "headline" }, headline), text && el("p", {}, text));
}

function scored(name, result, shared) {
  const { verdict } = result, limits = verdict.limits.filter((limit) => !shared.includes(limit));
  return el(
    "article",
    { class: `verdict ${verdict.side}` },
    el("h3", {}, name),
    el("p", { class: "headline" }, el("span", { "aria-hidden": "true" }, `${markOf(verdict.side)} `), verdict.headline),
    el("p", { class: "numbers" }, numbersOf(result)),
    el("p", {}, verdict.meaning),
    limits.length > 0 && el("ul", {}, ...limits.map((limit) => el("li", {}, limit))),
    model(result.card, result.row),
  );
}

function numbersOf(result) {
  const { card, windows } = result;
  const parts = [`score ${figure(result.score)}`];
  if (card.threshold !== null) {
    const under = windows.filter((window) => window[2] < card.threshold).length;
    parts.push(`threshold ${short(card.threshold)}`, `${under} of ${plural(windows.length, "window")} under it`);
  } else parts.push(plural(windows.length, "window"));
  return parts.join(" · ");
}

function model(card, row) {
  const facts = {
    version: card.version, weights: card.weights, checkpoint: card.checkpoint_sha256.slice(0, 16) || "unknown", graph: row.identity, precision: card.precision,
    window: card.window, published: card.published_result,
    "in short": card.out_of_domain, EER: card.eers.length && el("ul", {}, ...card.eers.map((eer) => el("li", {}, eer))), "trained on": card.trained_on, paper: card.paper, licence: card.licence,
  };
  const pairs = Object.entries(facts).filter(([, value]) => value);
  return el("details", {}, el("summary", {}, "The model"), el("dl", {}, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}
