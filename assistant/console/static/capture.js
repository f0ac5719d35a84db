// In the audio thread: the microphone as int16, 20 ms at a time; silence while the gate is closed.

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.open = true;
    this.chunk = new Int16Array(Math.round(sampleRate / 50));
    this.filled = 0;
    this.port.onmessage = ({ data }) => (this.open = data.open);
  }

  /** @param {Float32Array[][]} inputs */
  process([[channel] = []]) {
    if (!channel) return true;
    for (const sample of channel) {
      this.chunk[this.filled++] = this.open ? Math.max(-32768, Math.min(32767, Math.round(sample * 32768))) : 0;
      if (this.filled === this.chunk.length) {
        this.port.postMessage(this.chunk.buffer, [this.chunk.buffer]);
        this.chunk = new Int16Array(Math.round(sampleRate / 50));
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
