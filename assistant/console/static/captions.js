// What is said by both sides, as a list that keeps its latest lines. It is kept nowhere else.

import { el } from "./dom.js";

const LINES = 60;

export class Captions {
  /** @param {HTMLElement} list */
  constructor(list) {
    this.list = list;
    /** @type {HTMLElement|null} */
    this.answer = null;
    /** The latest answer, also when its turn is over: what is interrupted is told late. @type {HTMLElement|null} */
    this.spoken = null;
  }

  /** @param {import("./link.js").Happening} happening */
  take(happening) {
    switch (happening.event) {
      case "turn":
        this.answer = null;
        if (happening.state === "ended" && happening.outcome === "failed")
          this.#add("note bad", `This turn failed: ${happening.detail || "see the log"}`);
        break;
      case "wake":
        this.#add("note", `“${happening.word.replaceAll("_", " ")}” heard (${happening.score.toFixed(2)})`);
        break;
      case "heard":
      case "asked":
        this.answer = null;
        this.#add("you", happening.text);
        break;
      case "announcement":
        this.answer = null;
        break;
      case "answer":
        this.answer ??= this.spoken = this.#add("hearth", "");
        this.answer.append(happening.delta);
        this.#follow();
        break;
      case "tool":
        this.#tool(happening);
        break;
      case "playback":
        if (happening.state === "stopped" && happening.interrupted) this.spoken?.classList.add("cut");
        break;
      case "alert":
        if (happening.state === "raised") this.#add("note", `Alert: ${happening.title || "it rings"}`);
        break;
    }
  }

  /** @param {import("./link.js").Happening} happening */
  #tool({ state, tool, call, status, duration_ms }) {
    if (state === "called") {
      this.answer = null;
      this.#add("tool", tool.replaceAll("_", " ")).dataset.call = call;
      return;
    }
    const line = this.list.querySelector(`[data-call="${CSS.escape(call)}"]`);
    line?.classList.add("done");
    line?.append(status === "ok" ? `, ${Math.round(duration_ms)} ms` : `: ${status}`);
  }

  /**
   * @param {string} kind
   * @param {string} text
   */
  #add(kind, text) {
    const line = el("li", { class: kind }, text);
    this.list.append(line);
    while (this.list.children.length > LINES) this.list.firstElementChild?.remove();
    this.#follow();
    return line;
  }

  #follow() {
    this.list.scrollTop = this.list.scrollHeight;
  }
}
