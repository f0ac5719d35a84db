// Talk here: this browser as a room of the assistant.

import { Captions } from "./captions.js";
import { byId } from "./dom.js";
import { notice } from "./notice.js";

const ANSWER_RATE = 24_000;

const NAMES = {
  off: "Not talking",
  opening: "Getting ready",
  idle: "Say the wake word",
  listening: "Listening",
  thinking: "Thinking",
  speaking: "Speaking",
  follow_up: "Anything else?",
};

const captions = new Captions(byId("talk-captions"));

/** What is open while one talks. @type {Talk|null} */
let talk = null;

class Talk {
  /** @type {WebSocket|null} */ #socket = null;
  /** @type {AudioContext[]} */ #contexts = [];
  /** @type {MediaStream|null} */ #stream = null;
  /** @type {AudioWorkletNode|null} */ #capture = null;

  /** Ask for the microphone, and open the room. */
  async start() {
    if (!navigator.mediaDevices) throw new Error("Browsers lend the microphone only to this machine itself, or over HTTPS.");
    this.#stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
    const hearing = new AudioContext(); // at the device's rate
    const answering = new AudioContext({ sampleRate: ANSWER_RATE });
    this.#contexts = [hearing, answering];
    await Promise.all([
      hearing.audioWorklet.addModule("/static/capture.js"),
      answering.audioWorklet.addModule("/static/playout.js"),
    ]);
    const capture = new AudioWorkletNode(hearing, "capture", { numberOfOutputs: 0 });
    const playout = new AudioWorkletNode(answering, "playout", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#capture = capture;
    this.#join(hearing, answering, playout);
    capture.port.onmessage = ({ data }) => this.#send(data);
    playout.port.onmessage = ({ data }) =>
      this.#send(JSON.stringify({ played: data, latency: answering.outputLatency || answering.baseLatency || 0 }));
    playout.connect(answering.destination);
    this.gate(byId("handsfree").checked);
  }

  /** @param {AudioContext} hearing @param {AudioContext} answering @param {AudioWorkletNode} playout */
  #join(hearing, answering, playout) {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/room`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ rate: hearing.sampleRate }));
    socket.onclose = () => stop();
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) return playout.port.postMessage(data, [data]);
      const happening = JSON.parse(data);
      if (happening.event === "flush") playout.port.postMessage("flush");
      else if (happening.event === "ready" && this.#stream) {
        hearing.createMediaStreamSource(this.#stream).connect(/** @type {AudioWorkletNode} */ (this.#capture));
        draw("idle");
      } else if (happening.event === "level") measure(happening);
      else if (happening.event === "state") draw(happening.state);
      else captions.take(happening);
    };
  }

  /** @param {boolean} open whether the microphone is heard, or silence */
  gate(open) {
    this.#capture?.port.postMessage({ open });
  }

  /** @param {object} request */
  ask(request) {
    this.#send(JSON.stringify(request));
  }

  close() {
    if (this.#socket) this.#socket.onclose = null;
    this.#socket?.close();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    for (const context of this.#contexts) context.close();
  }

  /** @param {string|ArrayBuffer} message */
  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(message);
  }
}

export function startTalk() {
  byId("talk-start").addEventListener("click", () => (talk ? stop() : start()));
  byId("talk-stop").addEventListener("click", () => talk?.ask({ do: "stop" }));
  byId("handsfree").addEventListener("change", () => {
    talk?.gate(byId("handsfree").checked);
    draw(byId("talk-figure").dataset.talk);
  });
  const hold = byId("hold");
  hold.addEventListener("pointerdown", press);
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) hold.addEventListener(end, release);
  hold.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => [" ", "Enter"].includes(event.key) && !event.repeat && press());
  hold.addEventListener("keyup", release);
  draw("off");
}

/** Leaving the view ends the talk: a microphone is not left open behind one's back. @param {boolean} visible */
export function showTalk(visible) {
  if (!visible && location.hash !== "#talk") stop();
}

async function start() {
  draw("opening");
  talk = new Talk();
  try {
    await talk.start();
  } catch (error) {
    stop();
    const refused = error instanceof DOMException && error.name === "NotAllowedError";
    notice(refused ? "The browser does not lend its microphone: allow it for this page." : /** @type {Error} */ (error).message);
  }
}

function stop() {
  talk?.close();
  talk = null;
  draw("off");
}

function press() {
  talk?.gate(true);
  talk?.ask({ do: "listen" });
  byId("hold").classList.add("held");
}

function release() {
  if (!byId("hold").classList.contains("held")) return;
  byId("hold").classList.remove("held");
  talk?.gate(byId("handsfree").checked);
}

/** @param {string} state */
function draw(state) {
  const off = state === "off";
  const figure = byId("talk-figure");
  figure.dataset.talk = state;
  figure.dataset.state = off || state === "opening" ? "muted" : state;
  const name = state === "idle" && !byId("handsfree").checked ? "Hold the button and speak" : /** @type {Record<string, string>} */ (NAMES)[state];
  byId("talk-state").textContent = name ?? state;
  byId("talk-start").textContent = off ? "Talk here" : "Hang up";
  byId("talk-stop").disabled = byId("hold").disabled = off || state === "opening";
  if (off) measure({ dbfs: -90 });
}

/** @param {{dbfs: number}} level */
function measure({ dbfs }) {
  byId("talk-figure").style.setProperty("--level", Math.min(1, Math.max(0, (dbfs + 70) / 60)).toFixed(3));
}
