// In the audio thread: plays int16 chunks one after the other, and says how many samples it has played or dropped.

const REPORT_EVERY = 4; // blocks of 128 samples: 21 ms

class Playout extends AudioWorkletProcessor {
  constructor() {
    super();
    /** @type {Int16Array[]} */
    this.queue = [];
    this.at = 0; // in the first chunk
    this.played = 0;
    this.told = 0;
    this.blocks = 0;
    this.port.onmessage = ({ data }) => (data === "flush" ? this.flush() : this.queue.push(new Int16Array(data)));
  }

  flush() {
    for (const chunk of this.queue) this.played += chunk.length;
    this.played -= this.at;
    this.queue = [];
    this.at = 0;
  }

  /** @param {unknown} _ @param {Float32Array[][]} outputs */
  process(_, [[channel]]) {
    for (let index = 0; index < channel.length && this.queue.length; index++) {
      channel[index] = this.queue[0][this.at++] / 32768;
      this.played++;
      if (this.at === this.queue[0].length) {
        this.queue.shift();
        this.at = 0;
      }
    }
    if (++this.blocks % REPORT_EVERY === 0 && this.played !== this.told) {
      this.told = this.played;
      this.port.postMessage(this.played);
    }
    return true;
  }
}

registerProcessor("playout", Playout);
