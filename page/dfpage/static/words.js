// Elements, and numbers as people read them. Text is always set as text: a file's name can be no markup.

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false && child !== ""));
  return element;
}

export const byId = (id) => document.getElementById(id);

// Seconds as 1:02.5; hours where there are any.
export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const rest = `${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
  const minutes = Math.floor(tenths / 600);
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

export const figure = (score) => score.toFixed(4).replace("-", "−");
export const short = (number) => String(Number(number.toPrecision(4))).replace("-", "−");
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export function stemOf(name) {
  const base = name.slice(name.lastIndexOf("/") + 1);
  const dot = base.lastIndexOf(".");
  return dot > 0 && dot < base.length - 1 ? base.slice(0, dot) : base;
}

export const isUnder = (window, card) => card.threshold !== null && window[2] < card.threshold;
