// Plays a part of what the detectors heard.

export class Player {
  // follow(seconds | null): where it is, and null when it has ended.
  constructor(follow) {
    this.follow = follow;
    this.source = null;
  }

  async play(heard, from_s, to_s) {
    this.stop();
    this.context ??= new AudioContext();
    const first = Math.round(from_s * heard.rate_hz), last = Math.min(Math.round(to_s * heard.rate_hz), heard.samples.length);
    if (last <= first) return;
    const buffer = this.context.createBuffer(1, last - first, heard.rate_hz);
    // Louder than a loudspeaker can be is brought down to it; nothing is made louder.
    const gain = Math.min(heard.peak, 1) / 32767;
    const samples = buffer.getChannelData(0);
    for (let n = 0; n < samples.length; n++) samples[n] = heard.samples[first + n] * gain;
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    this.source = source;
    await this.context.resume();
    if (this.source !== source) return;
    source.start();
    const started_s = this.context.currentTime;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const tell = () => this.follow(Math.min(from_s + this.context.currentTime - started_s, to_s));
    tell();
    this.timer = setInterval(tell, calm ? 500 : 40);
    source.onended = () => {
      if (this.source === source) this.stop();
    };
  }

  stop() {
    clearInterval(this.timer);
    const source = this.source;
    this.source = null;
    if (source) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.follow(null);
  }
}
