// Waveform, spectrogram, speech and each detector's scores, one below the other on one time axis.

import { clock, figure, isUnder, short } from "./words.js";
import { spectra } from "./spectrum.js";
import { SvgPen } from "./svg.js";

const GUTTER = 46, RIGHT = 10, GAP = 8, AXIS = 22, CAPTION = 17;
const WAVE = 84, SPECTROGRAM = 116, SPEECH = 14, SCORES = 92;
const RANGE_DB = 70;
const MAX_COLUMNS = 1600;
const MIN_SPAN_S = 0.5;
// From quiet to loud: light paper to dark ink, or dark ground to light.
const INKS = {
  light: [[255, 255, 255], [214, 228, 240], [122, 164, 200], [34, 84, 132], [8, 24, 48]],
  dark: [[18, 21, 24], [30, 58, 92], [52, 116, 160], [150, 190, 190], [250, 240, 205]],
};

export class Picture {
  // data: { heard, speech, silence, duration_s, tracks: [{ name, card, windows, note }] }; any part may be missing yet.
  constructor(stage, base, overlay) {
    Object.assign(this, { stage, base, overlay, data: null, from_s: 0, to_s: 1, pick: { track: 0, window: 0 }, play_s: null });
    new ResizeObserver(() => this.draw()).observe(stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(data, { keepView = false } = {}) {
    this.data = data;
    if (!keepView) this.view(0, data.duration_s);
    else this.draw();
  }

  view(from_s, to_s) {
    const whole = this.data.duration_s || 1;
    const span = Math.min(Math.max(to_s - from_s, Math.min(MIN_SPAN_S, whole)), whole);
    this.from_s = Math.min(Math.max(from_s, 0), whole - span);
    this.to_s = this.from_s + span;
    this.draw();
  }

  zoom(factor) {
    const window = this.picked;
    const middle = window ? (window[0] + window[1]) / 2 : (this.from_s + this.to_s) / 2;
    const span = (this.to_s - this.from_s) / factor;
    this.view(middle - span / 2, middle + span / 2);
  }

  get picked() {
    return this.data?.tracks[this.pick.track]?.windows[this.pick.window];
  }

  select(track, window) {
    this.pick = { track, window };
    const found = this.picked;
    if (found && (found[0] < this.from_s || found[1] > this.to_s)) {
      const span = this.to_s - this.from_s;
      const start = found[0] < this.from_s || found[1] - found[0] > span ? found[0] : found[1] - span;
      this.view(start, start + span);
    } else this.drawOverlay();
  }

  playAt(seconds) {
    this.play_s = seconds;
    this.drawOverlay();
  }

  // Which track and window lie at a point of the stage; above the scores, of the track that is selected.
  at(x, y) {
    const lane = this.lanes().find((one) => one.kind === "scores" && y >= one.top - CAPTION && y <= one.top + one.height);
    const track = lane ? lane.track : this.pick.track;
    const cells = cellsOf(this.data.tracks[track]?.windows ?? []);
    const time = this.from_s + ((x - GUTTER) / (this.stage.clientWidth - GUTTER - RIGHT)) * (this.to_s - this.from_s);
    const window = cells.findIndex(([from, to]) => time >= from && time <= to);
    return window < 0 ? null : { track, window };
  }

  lanes() {
    let top = 4;
    const lanes = [];
    const add = (kind, height, more = {}) => {
      top += CAPTION;
      lanes.push({ kind, top, height, ...more });
      top += height + GAP;
    };
    add("wave", WAVE);
    add("spectrogram", SPECTROGRAM);
    add("speech", SPEECH);
    (this.data?.tracks ?? []).forEach((_, track) => add("scores", SCORES, { track }));
    lanes.push({ kind: "axis", top, height: AXIS });
    lanes.total = top + AXIS;
    return lanes;
  }

  draw() {
    if (!this.data || !this.stage.clientWidth) return;
    const width = this.stage.clientWidth, lanes = this.lanes(), scale = devicePixelRatio || 1;
    this.stage.style.height = `${lanes.total}px`;
    for (const canvas of [this.base, this.overlay]) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(lanes.total * scale);
      canvas.style.height = `${lanes.total}px`;
    }
    const pen = this.base.getContext("2d");
    pen.scale(scale, scale);
    this.paint(pen, width, lanes);
    this.drawOverlay();
  }

  paint(pen, width, lanes) {
    const colours = coloursOf(this.stage);
    const left = GUTTER, right = width - RIGHT;
    const x = (seconds) => left + ((seconds - this.from_s) / (this.to_s - this.from_s)) * (right - left);
    const frame = { pen, colours, left, right, x };
    for (const lane of lanes) {
      if (lane.kind === "axis") this.paintAxis(frame, lane);
      else if (lane.kind === "wave") this.paintWave(frame, lane);
      else if (lane.kind === "spectrogram") this.paintSpectrogram(frame, lane);
      else if (lane.kind === "speech") this.paintSpeech(frame, lane);
      else this.paintScores(frame, lane);
    }
  }

  paintWave(frame, lane) {
    const { pen, colours, left, right, x } = frame, { heard, tracks } = this.data;
    caption(frame, lane, "Waveform", heard && !heard.isLive ? `peak ${short(heard.peak)} of full scale` : "");
    const active = tracks[this.pick.track];
    if (active) shadeUnder(frame, lane, active, 0.6);
    const middle = lane.top + lane.height / 2;
    pen.fillStyle = colours.line;
    pen.fillRect(left, middle - 0.5, right - left, 1);
    if (!heard) return;
    pen.fillStyle = colours.wave;
    const columns = Math.round(right - left), perSecond = heard.rate_hz;
    for (let column = 0; column < columns; column++) {
      const at = (part) => (this.from_s + ((column + part) / columns) * (this.to_s - this.from_s)) * perSecond;
      const first = Math.floor(at(0)), last = Math.min(Math.max(first + 1, Math.floor(at(1))), heard.samples.length);
      if (first >= heard.samples.length) break;
      let low = 32767, high = -32768;
      for (let n = first; n < last; n++) {
        const sample = heard.samples[n];
        if (sample < low) low = sample;
        if (sample > high) high = sample;
      }
      const y = middle - (high / 32768) * (lane.height / 2);
      pen.fillRect(left + column, y, 1, Math.max(((high - low) / 32768) * (lane.height / 2), 1));
    }
  }

  paintSpectrogram(frame, lane) {
    const { pen, colours, left, right } = frame, { heard } = this.data;
    caption(frame, lane, "Spectrogram", "");
    tick(frame, lane.top + 5, "8 kHz");
    tick(frame, lane.top + lane.height / 2, "4");
    tick(frame, lane.top + lane.height - 4, "0");
    if (heard) {
      const columns = Math.min(Math.round(right - left), MAX_COLUMNS);
      const image = this.spectrogram(heard, columns, colours.isDark);
      pen.imageSmoothingEnabled = true;
      pen.drawImage(image, left, lane.top, right - left, lane.height);
    }
    pen.strokeStyle = colours.line;
    pen.strokeRect(left + 0.5, lane.top + 0.5, right - left - 1, lane.height - 1);
  }

  spectrogram(heard, columns, isDark) {
    const key = [heard.samples.length, this.from_s, this.to_s, columns, isDark].join();
    if (this.painted?.key === key && this.painted.heard === heard) return this.painted.image;
    const { bins, levels } = spectra(heard.samples, heard.rate_hz, this.from_s * heard.rate_hz, this.to_s * heard.rate_hz, columns);
    const image = document.createElement("canvas");
    image.width = columns;
    image.height = bins;
    const pen = image.getContext("2d"), pixels = pen.createImageData(columns, bins);
    const loudest = levels.reduce((most, level) => Math.max(most, level), 0), inks = INKS[isDark ? "dark" : "light"];
    for (let column = 0; column < columns; column++) {
      for (let bin = 0; bin < bins; bin++) {
        const level = Math.min(Math.max(1 + (levels[column * bins + bin] - loudest) / RANGE_DB, 0), 1) * (inks.length - 1);
        const step = Math.min(Math.floor(level), inks.length - 2), share = level - step;
        const place = ((bins - 1 - bin) * columns + column) * 4;
        for (let part = 0; part < 3; part++) {
          pixels.data[place + part] = inks[step][part] + share * (inks[step + 1][part] - inks[step][part]);
        }
        pixels.data[place + 3] = 255;
      }
    }
    pen.putImageData(pixels, 0, 0);
    this.painted = { key, heard, image };
    return image;
  }

  paintSpeech(frame, lane) {
    const { pen, colours, left, right, x } = frame, { speech, silence } = this.data;
    caption(frame, lane, "Speech", speech ? "" : "not looked for yet");
    const fill = ([from, to], style) => {
      const start = Math.max(x(from), left), stop = Math.min(x(to), right);
      if (stop <= start) return;
      pen.fillStyle = style;
      pen.fillRect(start, lane.top, Math.max(stop - start, 1), lane.height);
    };
    (speech ?? []).forEach((span) => fill(span, colours.speech));
    (silence ?? []).forEach((span) => fill(span, hatch(pen, colours.muted)));
    pen.strokeStyle = colours.line;
    pen.strokeRect(left + 0.5, lane.top + 0.5, right - left - 1, lane.height - 1);
  }

  paintScores(frame, lane) {
    const { pen, colours, left, right, x } = frame, track = this.data.tracks[lane.track], { card, windows } = track;
    const note = card?.is_random ? "RANDOM WEIGHTS: means nothing" : track.note;
    caption(frame, lane, track.name, note, card?.is_random || track.isMissing ? colours.alarm : colours.muted);
    pen.strokeStyle = colours.line;
    pen.strokeRect(left + 0.5, lane.top + 0.5, right - left - 1, lane.height - 1);
    if (!windows.length) return;
    const [low, high] = rangeOf(windows, card.threshold);
    const y = (score) => lane.top + lane.height - 6 - ((score - low) / (high - low)) * (lane.height - 12);
    shadeUnder(frame, lane, track, 1);
    ticksOf(low, high).forEach((score) => tick(frame, y(score), short(score)));
    pen.save();
    pen.beginPath();
    pen.rect(left, lane.top, right - left, lane.height);
    pen.clip();
    if (card.threshold !== null) {
      pen.strokeStyle = colours.text;
      pen.setLineDash([5, 4]);
      pen.beginPath();
      pen.moveTo(left, y(card.threshold));
      pen.lineTo(right, y(card.threshold));
      pen.stroke();
      pen.setLineDash([]);
    }
    const cells = cellsOf(windows);
    pen.lineWidth = 1;
    pen.strokeStyle = colours.line;
    pen.beginPath();
    cells.slice(1).forEach(([from], index) => {
      pen.moveTo(x(from), y(windows[index][2]));
      pen.lineTo(x(from), y(windows[index + 1][2]));
    });
    pen.stroke();
    pen.lineWidth = 3;
    windows.forEach((window, index) => {
      pen.strokeStyle = card.threshold === null ? colours.muted : isUnder(window, card) ? colours.below : colours.above;
      pen.beginPath();
      pen.moveTo(x(cells[index][0]), y(window[2]));
      pen.lineTo(Math.max(x(cells[index][1]), x(cells[index][0]) + 1), y(window[2]));
      pen.stroke();
    });
    pen.restore();
    pen.lineWidth = 1;
  }

  paintAxis(frame, lane) {
    const { pen, colours, x, left, right } = frame, step = stepOf(this.to_s - this.from_s, (right - left) / 70);
    pen.fillStyle = colours.muted;
    pen.strokeStyle = colours.line;
    pen.font = FONT;
    pen.textBaseline = "top";
    for (let n = Math.ceil(this.from_s / step - 1e-9); n * step <= this.to_s + 1e-9; n++) {
      const place = x(n * step), label = clock(n * step);
      pen.beginPath();
      pen.moveTo(place + 0.5, lane.top - GAP);
      pen.lineTo(place + 0.5, lane.top - GAP + 5);
      pen.stroke();
      pen.textAlign = place + 16 > right ? "right" : "center";
      pen.fillText(label, pen.textAlign === "right" ? right + 6 : place, lane.top);
    }
  }

  drawOverlay() {
    if (!this.data) return;
    const pen = this.overlay.getContext("2d"), scale = devicePixelRatio || 1, width = this.stage.clientWidth;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, this.overlay.height);
    const colours = coloursOf(this.stage), lanes = this.lanes();
    const left = GUTTER, right = width - RIGHT;
    const x = (seconds) => Math.min(Math.max(left + ((seconds - this.from_s) / (this.to_s - this.from_s)) * (right - left), left), right);
    const window = this.picked, lane = lanes.find((one) => one.track === this.pick.track);
    if (window && lane) {
      pen.strokeStyle = colours.accent;
      pen.lineWidth = 2;
      const start = x(window[0]), stop = Math.max(x(window[1]), start + 3);
      pen.strokeRect(start, lanes[0].top - 1, stop - start, lanes[0].height + 2);
      pen.strokeRect(start, lane.top - 1, stop - start, lane.height + 2);
    }
    if (this.play_s !== null && this.play_s >= this.from_s && this.play_s <= this.to_s) {
      pen.fillStyle = colours.accent;
      pen.fillRect(x(this.play_s) - 1, lanes[0].top, 2, lanes.total - AXIS - GAP - lanes[0].top);
    }
  }

  // The picture by itself, with what it shows in words above and below; as a file of that kind.
  async blob(kind, title, lines) {
    const scale = 2, width = 1200, height = 34 + this.lanes().total + 14 + 17 * lines.length;
    if (kind === "svg") {
      const pen = new SvgPen(width, height);
      this.compose(pen, width, height, title, lines);
      return pen.blob();
    }
    const canvas = document.createElement("canvas");
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    this.compose(pen, width, height, title, lines);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  compose(pen, width, height, title, lines) {
    const lanes = this.lanes(), head = 34, colours = coloursOf(this.stage);
    pen.fillStyle = colours.surface;
    pen.fillRect(0, 0, width, height);
    pen.fillStyle = colours.text;
    pen.font = "600 16px system-ui, sans-serif";
    pen.textBaseline = "top";
    pen.fillText(title, 12, 10, width - 24);
    pen.save();
    pen.translate(0, head);
    this.paint(pen, width, lanes);
    pen.restore();
    pen.fillStyle = colours.muted;
    pen.font = FONT;
    pen.textAlign = "left";
    pen.textBaseline = "top";
    lines.forEach((line, index) => pen.fillText(line, 12, head + lanes.total + 4 + 17 * index, width - 24));
  }
}

const FONT = "12px system-ui, sans-serif";

// Where each window is drawn: windows that overlap share their overlap between them, so that each time has one score.
export function cellsOf(windows) {
  return windows.map((window, index) => {
    const before = windows[index - 1], after = windows[index + 1];
    return [before ? (before[1] + window[0]) / 2 : window[0], after ? (window[1] + after[0]) / 2 : window[1]];
  });
}

function shadeUnder({ pen, colours, x, left, right }, lane, { card, windows }, strength) {
  if (!windows.length || card.threshold === null) return;
  pen.globalAlpha = strength;
  pen.fillStyle = colours.shade;
  cellsOf(windows).forEach(([from, to], index) => {
    const start = Math.max(x(from), left), stop = Math.min(x(to), right);
    if (isUnder(windows[index], card) && stop > start) pen.fillRect(start, lane.top, stop - start, lane.height);
  });
  pen.globalAlpha = 1;
}

function caption({ pen, colours, left, right }, lane, text, note, noteColour = colours.muted) {
  pen.textBaseline = "bottom";
  pen.textAlign = "left";
  pen.fillStyle = colours.text;
  pen.font = `600 ${FONT}`;
  pen.fillText(text, left, lane.top - 2, right - left);
  const start = left + pen.measureText(text).width + 10;
  pen.font = FONT;
  pen.fillStyle = noteColour;
  if (note && right - start > 40) pen.fillText(fitted(pen, note, right - start), start, lane.top - 2);
}

function fitted(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let kept = text;
  while (kept && pen.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
  return `${kept.trimEnd()}…`;
}

function tick({ pen, colours, left }, y, text) {
  pen.fillStyle = colours.muted;
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  pen.fillText(text, left - 5, y);
}

function rangeOf(windows, threshold) {
  const values = windows.map((window) => window[2]);
  if (threshold !== null) values.push(threshold);
  const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
  const margin = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  return [low - margin, high + margin];
}

function stepOf(span, count) {
  const rough = span / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(rough));
  const clocks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800];
  return clocks.find((step) => step >= rough) ?? 10 * power;
}

function ticksOf(low, high) {
  const rough = (high - low) / 2.5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [5, 2, 1].map((one) => one * power).find((one) => one <= rough) ?? power;
  const ticks = [];
  for (let n = Math.ceil(low / step); n * step <= high; n++) ticks.push(n * step);
  return ticks;
}

function coloursOf(element) {
  const style = getComputedStyle(element), names = ["surface", "text", "muted", "line", "accent", "above", "below", "alarm", "speech", "wave", "shade"];
  const colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return { ...colours, isDark: matchMedia("(prefers-color-scheme: dark)").matches };
}

function hatch(pen, colour) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const brush = tile.getContext("2d");
  brush.strokeStyle = colour;
  brush.beginPath();
  brush.moveTo(0, 6);
  brush.lineTo(6, 0);
  brush.stroke();
  return pen.createPattern(tile, "repeat");
}

// A track's windows in words, for whoever hears the page instead of seeing it.
export function windowInWords(track, index) {
  const window = track.windows[index], { card } = track;
  const side = card.is_random ? "random weights" : card.threshold === null ? "" : isUnder(window, card) ? "below the threshold" : "above the threshold";
  const words = `${track.name}, window ${index + 1} of ${track.windows.length}, ${clock(window[0])} to ${clock(window[1])}, score ${figure(window[2])}`;
  return side ? `${words}, ${side}` : words;
}
