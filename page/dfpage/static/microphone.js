// The microphone: its samples while it records, and a WAV file of them at the end.

const MESSAGES = {
  NotAllowedError: "the browser was not allowed to use the microphone: allow it for this page, then try again",
  NotFoundError: "no microphone was found: connect one, then try again",
  NotReadableError: "the microphone can't be read: another program may hold it",
};

export class Microphone {
  // hear(chunk): Int16Array, mono, at `rate_hz`.
  static async open(hear) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("this browser gives the microphone to pages on localhost or https only: open the page there");
    }
    let stream;
    try {
      // What a browser does to make calls pleasant changes scores: it is switched off.
      stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
    } catch (error) {
      throw new Error(MESSAGES[error.name] ?? `the microphone can't be used: ${error.message}`);
    }
    const context = new AudioContext();
    await context.audioWorklet.addModule("recorder.js");
    return new Microphone(stream, context, hear);
  }

  constructor(stream, context, hear) {
    Object.assign(this, { stream, context, rate_hz: context.sampleRate, samples: new Int16Array(context.sampleRate * 10), length: 0 });
    this.node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.node.port.onmessage = ({ data }) => {
      if (data === null) return this.flushed?.();
      this.keep(data);
      return hear(data);
    };
    context.createMediaStreamSource(stream).connect(this.node);
    context.resume();
  }

  keep(chunk) {
    if (this.length + chunk.length > this.samples.length) {
      const larger = new Int16Array(2 * this.samples.length);
      larger.set(this.samples);
      this.samples = larger;
    }
    this.samples.set(chunk, this.length);
    this.length += chunk.length;
  }

  get duration_s() {
    return this.length / this.rate_hz;
  }

  // What was heard so far, as the picture takes it.
  get heard() {
    return { samples: this.samples.subarray(0, this.length), rate_hz: this.rate_hz, peak: 1, isLive: true };
  }

  async stop() {
    const flushed = new Promise((resolve) => (this.flushed = resolve));
    this.node.port.postMessage("stop");
    await Promise.race([flushed, new Promise((resolve) => setTimeout(resolve, 1000))]);
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
  }

  // 16-bit PCM, mono: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html
  wav(name) {
    const header = new DataView(new ArrayBuffer(44)), bytes = 2 * this.length;
    const text = (at, word) => [...word].forEach((letter, n) => header.setUint8(at + n, letter.charCodeAt(0)));
    text(0, "RIFF");
    header.setUint32(4, 36 + bytes, true);
    text(8, "WAVEfmt ");
    header.setUint32(16, 16, true);
    header.setUint16(20, 1, true);
    header.setUint16(22, 1, true);
    header.setUint32(24, this.rate_hz, true);
    header.setUint32(28, 2 * this.rate_hz, true);
    header.setUint16(32, 2, true);
    header.setUint16(34, 16, true);
    text(36, "data");
    header.setUint32(40, bytes, true);
    return new File([header, this.samples.subarray(0, this.length)], name, { type: "audio/wav" });
  }
}
