// A pen that draws into an SVG file what it is told as a canvas's 2D context: as much of it as picture.js uses.

const STATE = ["fillStyle", "strokeStyle", "lineWidth", "font", "textAlign", "textBaseline", "globalAlpha"];
const ANCHORS = { left: "start", center: "middle", right: "end" };
const BASELINES = { top: "text-before-edge", middle: "central", bottom: "text-after-edge" };

export class SvgPen {
  constructor(width, height) {
    Object.assign(this, { width, height, parts: [], definitions: [], path: "", dashes: [], opened: 0, saved: [] });
    Object.assign(this, { fillStyle: "#000", strokeStyle: "#000", lineWidth: 1, font: "10px sans-serif", textAlign: "left", textBaseline: "alphabetic", globalAlpha: 1 });
    this.ruler = document.createElement("canvas").getContext("2d");
  }

  fillRect(x, y, width, height) {
    this.parts.push(`<rect x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" fill="${this.fillStyle}"${this.alpha()}/>`);
  }

  strokeRect(x, y, width, height) {
    this.parts.push(`<rect x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" fill="none" ${this.line()}/>`);
  }

  beginPath() {
    this.path = "";
  }

  moveTo(x, y) {
    this.path += `M${n(x)} ${n(y)}`;
  }

  lineTo(x, y) {
    this.path += `L${n(x)} ${n(y)}`;
  }

  rect(x, y, width, height) {
    this.path += `M${n(x)} ${n(y)}h${n(width)}v${n(height)}h${n(-width)}z`;
  }

  stroke() {
    if (this.path) this.parts.push(`<path d="${this.path}" fill="none" ${this.line()}/>`);
  }

  clip() {
    const id = this.define((name) => `<clipPath id="${name}"><path d="${this.path}"/></clipPath>`);
    this.group(`clip-path="url(#${id})"`);
  }

  translate(x, y) {
    this.group(`transform="translate(${n(x)} ${n(y)})"`);
  }

  save() {
    this.saved.push([Object.fromEntries(STATE.map((name) => [name, this[name]])), this.opened]);
  }

  restore() {
    const [state, opened] = this.saved.pop();
    Object.assign(this, state);
    for (; this.opened > opened; this.opened--) this.parts.push("</g>");
  }

  setLineDash(dashes) {
    this.dashes = dashes;
  }

  measureText(text) {
    this.ruler.font = this.font;
    return this.ruler.measureText(text);
  }

  fillText(text, x, y, widest) {
    const squeezed = widest && this.measureText(text).width > widest ? ` textLength="${n(widest)}" lengthAdjust="spacingAndGlyphs"` : "";
    const [, weight = "400", size, family] = this.font.match(/^(\d+ )?(\d+)px (.*)$/);
    this.parts.push(`<text x="${n(x)}" y="${n(y)}" font-weight="${weight.trim()}" font-size="${size}" font-family="${family}" text-anchor="${ANCHORS[this.textAlign]}" dominant-baseline="${BASELINES[this.textBaseline]}" fill="${this.fillStyle}"${squeezed}>${escaped(text)}</text>`);
  }

  drawImage(image, x, y, width, height) {
    this.parts.push(`<image x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" preserveAspectRatio="none" href="${image.toDataURL()}"/>`);
  }

  createPattern(tile) {
    const id = this.define((name) => `<pattern id="${name}" width="${tile.width}" height="${tile.height}" patternUnits="userSpaceOnUse"><image width="${tile.width}" height="${tile.height}" href="${tile.toDataURL()}"/></pattern>`);
    return `url(#${id})`;
  }

  blob() {
    const text = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${this.width} ${this.height}" width="${this.width}" height="${this.height}"><defs>${this.definitions.join("")}</defs>${this.parts.join("\n")}</svg>\n`;
    return new Blob([text], { type: "image/svg+xml" });
  }

  define(make) {
    const id = `d${this.definitions.length}`;
    this.definitions.push(make(id));
    return id;
  }

  group(attribute) {
    this.parts.push(`<g ${attribute}>`);
    this.opened++;
  }

  line() {
    const dashes = this.dashes.length ? ` stroke-dasharray="${this.dashes.join(" ")}"` : "";
    return `stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}"${dashes}${this.alpha()}`;
  }

  alpha() {
    return this.globalAlpha === 1 ? "" : ` opacity="${this.globalAlpha}"`;
  }
}

const n = (number) => Number(number.toFixed(2));
const escaped = (text) => text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd").replace(/[&<>]/g, (letter) => `&#${letter.charCodeAt(0)};`);
