// The frame: which view is shown, by the part of the address after #.

import { byId } from "./dom.js";
import { showHealth } from "./health.js";
import { link } from "./link.js";
import { showNow, startNow } from "./now.js";
import { showSettings, startSettings } from "./settings.js";
import { showTalk, startTalk } from "./talk.js";
import { showTurns } from "./turns.js";

/** What a view does when it comes and goes. @type {Record<string, (visible: boolean) => void>} */
const VIEWS = { now: showNow, talk: showTalk, turns: showTurns, health: showHealth, settings: showSettings };

function route() {
  const wanted = location.hash.slice(1);
  const current = wanted in VIEWS ? wanted : "now";
  for (const [name, show] of Object.entries(VIEWS)) {
    byId(name).hidden = name !== current;
    show(name === current && !document.hidden);
  }
  for (const each of document.querySelectorAll("nav a")) {
    if (each.getAttribute("href") === `#${current}`) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  document.title = `Hearth: ${current}`;
}

startNow();
startSettings();
startTalk();
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", route);
route();
link.open();
performance.mark("interactive");
