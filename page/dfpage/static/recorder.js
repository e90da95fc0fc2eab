// In the audio thread: the microphone's samples as int16, some 100 ms at a time.

const CHUNK_S = 0.1;

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.chunk = new Int16Array(Math.round(sampleRate * CHUNK_S));
    this.length = 0;
    this.isOver = false;
    this.port.onmessage = () => {
      this.flush();
      this.isOver = true;
      this.port.postMessage(null);
    };
  }

  flush() {
    if (!this.length) return;
    const part = this.chunk.slice(0, this.length);
    this.length = 0;
    this.port.postMessage(part, [part.buffer]);
  }

  process([input]) {
    const samples = input[0] ?? [];
    for (let n = 0; n < samples.length && !this.isOver; n++) {
      this.chunk[this.length++] = Math.max(-32768, Math.min(32767, Math.round(samples[n] * 32767)));
      if (this.length === this.chunk.length) this.flush();
    }
    return !this.isOver;
  }
}

registerProcessor("recorder", Recorder);
