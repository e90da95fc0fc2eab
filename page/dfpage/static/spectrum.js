// Short-time spectra: a radix-2 FFT of real frames under a Hann window, as decibels below the loudest.

export const TOP_HZ = 8000; // what the detectors hear, at 16 kHz
const FRAME_S = 0.032;
const MAX_FRAMES_A_COLUMN = 4;

// In place, of length 2^n (Cooley and Tukey 1965, decimation in time).
function transform(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let span = 2; span <= size; span <<= 1) {
    const angle = (-2 * Math.PI) / span, half = span >> 1;
    const stepReal = Math.cos(angle), stepImaginary = Math.sin(angle);
    for (let start = 0; start < size; start += span) {
      let turnReal = 1, turnImaginary = 0;
      for (let k = start; k < start + half; k++) {
        const far = k + half;
        const r = real[far] * turnReal - imaginary[far] * turnImaginary;
        const i = real[far] * turnImaginary + imaginary[far] * turnReal;
        real[far] = real[k] - r;
        imaginary[far] = imaginary[k] - i;
        real[k] += r;
        imaginary[k] += i;
        const next = turnReal * stepReal - turnImaginary * stepImaginary;
        turnImaginary = turnReal * stepImaginary + turnImaginary * stepReal;
        turnReal = next;
      }
    }
  }
}

// Power spectra of `columns` equal parts of samples [from, to), up to TOP_HZ: { bins, levels }, levels in dB, column by column.
export function spectra(samples, rateHz, from, to, columns) {
  const size = 2 ** Math.round(Math.log2(rateHz * FRAME_S));
  const bins = Math.min(size >> 1, Math.ceil((TOP_HZ / rateHz) * size));
  const hann = Float64Array.from({ length: size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
  const levels = new Float32Array(columns * bins);
  const real = new Float64Array(size), imaginary = new Float64Array(size);
  const width = (to - from) / columns;
  const frames = Math.max(1, Math.min(MAX_FRAMES_A_COLUMN, Math.round(width / (size / 2))));
  for (let column = 0; column < columns; column++) {
    for (let frame = 0; frame < frames; frame++) {
      const centre = from + (column + (frame + 0.5) / frames) * width;
      const first = Math.round(centre - size / 2);
      for (let n = 0; n < size; n++) real[n] = (samples[first + n] ?? 0) * hann[n];
      imaginary.fill(0);
      transform(real, imaginary);
      for (let bin = 0; bin < bins; bin++) levels[column * bins + bin] += (real[bin] ** 2 + imaginary[bin] ** 2) / frames;
    }
  }
  for (let i = 0; i < levels.length; i++) levels[i] = 10 * Math.log10(levels[i] + 1e-3);
  return { bins, levels };
}
