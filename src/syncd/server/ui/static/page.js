// The page comes alive: parts that changed arrive by EventSource, rows are walked by keys, forms answer without a reload.
// Everything works without this file too. No inline code, nothing evaluated, nothing kept but the URL.
"use strict";
(() => {
  const root = document.documentElement, find = (what) => document.querySelector(what);
  const url = new URL(location.href), pulse = find("#pulse"), stale = find("#stale"), toast = find("#toast");
  const first = root.dataset.parts === "yes";
  let every = Number(root.dataset.every), paused = every === 0, board = root.dataset.board;
  let source = null, heard = Date.now(), leaving = false, again = 0;
  root.classList.add("scripted");

  // -- what arrives --------------------------------------------------------------------------------------------------
  function busy(part) { // somebody is typing or has something open there: it waits for the next time
    const at = document.activeElement;
    return part.contains(at) && at.matches("input, textarea, select") || part.querySelector("details[open] form");
  }
  function rows(order, parts) {
    const table = find("#board");
    if (!table || !order) return;
    const known = new Map([...table.tBodies].map((body) => [body.dataset.key, body]));
    const chosen = table.querySelector(".at")?.dataset.key, held = document.activeElement?.closest?.("tbody")?.dataset.key;
    const place = held && [...known.get(held).querySelectorAll("a, button")].indexOf(document.activeElement);
    for (const key of order) {
      let body = known.get(key);
      if (parts[key] !== undefined) {
        const holder = document.createElement("table");
        holder.innerHTML = parts[key];
        body = holder.tBodies[0];
        known.get(key)?.remove();
      }
      if (!body) continue;
      known.delete(key);
      body.classList.toggle("at", key === chosen);
      table.append(body);
    }
    for (const gone of known.values()) gone.remove();
    if (held) table.querySelector(`[data-key="${CSS.escape(held)}"]`)?.querySelectorAll("a, button")[place]?.focus();
    filter();
  }
  function show(told) {
    heard = Date.now();
    board = told.id;
    document.title = told.title && first ? told.title : document.title;
    find("#icon").href = `/ui/static/favicon-${told.state}.svg`;
    stale.hidden = true;
    if (!told.parts) return reread();
    for (const [name, html] of Object.entries(told.parts)) {
      const part = find(`[data-part="${CSS.escape(name)}"]`);
      if (part && !busy(part)) part.innerHTML = html;
    }
    if (told.order.some((key, at) => find("#board")?.tBodies[at]?.dataset.key !== key || told.parts[key] !== undefined)
        || told.order.length !== find("#board")?.tBodies.length) rows(told.order, told.parts);
  }
  async function reread() { // another page than the first, or no stream is to be had: asked for anew, its parts put in place
    try {
      const answer = await fetch(location.href);
      if (!answer.ok || !answer.headers.get("content-type").startsWith("text/html")) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-part]")) {
        const other = fresh.querySelector(`[data-part="${CSS.escape(part.dataset.part)}"]`);
        if (!other || busy(part) || other.innerHTML === part.dataset.seen) continue;
        part.dataset.seen = other.innerHTML;
        const at = part.querySelector(".at")?.dataset.key;
        part.innerHTML = other.innerHTML;
        if (at) part.querySelector(`[data-key="${CSS.escape(at)}"]`)?.classList.add("at");
      }
      const bodies = [...fresh.querySelector("#board")?.tBodies ?? []], keyed = bodies.map((body) => [body.dataset.key, body.outerHTML]);
      if (bodies.length) rows(keyed.map(([key]) => key), Object.fromEntries(keyed));
      heard = Date.now();
      document.dispatchEvent(new Event("reread"));
    } catch { /* away: the banner says so */ }
  }
  function listen() {
    source?.close();
    clearTimeout(again);
    source = null;
    if (paused || document.hidden || leaving || root.dataset.live !== "yes") return;
    source = new EventSource(`/ui/events?every=${every}&since=${board}&parts=${root.dataset.parts}`);
    source.addEventListener("board", (event) => show(JSON.parse(event.data)));
    source.addEventListener("bye", () => { source?.close(); again = setTimeout(listen, 2000); });
    source.onerror = () => { if (source?.readyState === EventSource.CLOSED) { reread(); again = setTimeout(listen, 1000 * Math.max(every, 5)); } };
  }
  function tell() {
    const seconds = Math.round((Date.now() - heard) / 1000), late = !paused && seconds > Math.max(3 * every, 10);
    if (pulse) {
      pulse.textContent = paused ? `paused ${seconds} s ago` : `live · ${seconds} s`;
      pulse.className = `pulse ${paused || late ? "off" : "on"}`;
    }
    if (stale && !document.hidden) {
      stale.hidden = !late;
      if (late) stale.textContent = `No news for ${seconds} s: what you see is old. Is syncd running, and can this browser reach it?`;
      if (late) find("#icon").href = "/ui/static/favicon-stale.svg";
    }
  }
  function pace(seconds) {
    paused = seconds === 0;
    every = seconds || every || 5;
    const chooser = find("#every");
    if (chooser) chooser.value = String(seconds);
    put("every", seconds);
    heard = Date.now();
    listen();
    tell();
  }

  // -- the URL holds every filter --------------------------------------------------------------------------------------
  function put(key, value) {
    if (value === "" || value === null) url.searchParams.delete(key); else url.searchParams.set(key, value);
    history.replaceState(null, "", url);
    const to = find("#act input[name=to]");
    if (to) to.value = url.pathname + url.search;
  }
  function filter() {
    const words = find("#q"), state = find("#state"), table = find("#board");
    if (!words || !table) return;
    const text = words.value.trim().toLowerCase(), bad = ["down", "auth_required", "degraded"];
    let count = 0;
    for (const body of table.tBodies) {
      const is = body.dataset.state, fits = !state.value || is === state.value || state.value === "troubled" && bad.includes(is);
      body.hidden = !(fits && body.dataset.words.includes(text));
      count += body.hidden ? 0 : 1;
    }
    const all = table.tBodies.length;
    find("#shown").textContent = count === all ? "" : `${count} of ${all}`;
  }

  // -- keys --------------------------------------------------------------------------------------------------------------
  function walk(step) {
    const every = [...document.querySelectorAll(".row")].filter((row) => !row.hidden);
    if (!every.length) return;
    const at = every.findIndex((row) => row.classList.contains("at"));
    const next = at < 0 ? (step > 0 ? 0 : every.length - 1) : Math.min(Math.max(at + step, 0), every.length - 1);
    every[at]?.classList.remove("at");
    every[next].classList.add("at");
    every[next].querySelector("a")?.focus({ preventScroll: true });
    every[next].scrollIntoView({ block: "nearest" });
  }
  const keys = {
    j: () => walk(1), k: () => walk(-1), r: () => { heard = Date.now(); first ? listen() : reread(); }, p: () => pace(paused ? every : 0),
    "/": () => find("#q")?.focus(), d: () => location.assign("/ui/letters"), o: () => location.assign("/ui"),
    "?": () => find("#help").showModal(), Enter: () => find(".row.at a")?.click(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, textarea, select");
    if (event.key === "Escape" && typing) {
      if (event.target.id === "q") { event.target.value = ""; put("q", ""); filter(); }
      event.target.blur();
    } else if (event.key === "Escape") {
      find(".row.at")?.classList.remove("at");
      toast.hidden = true;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
    if (event.key === "Enter" && event.target.matches("a, button, summary")) return;
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });

  // -- buttons -------------------------------------------------------------------------------------------------------------
  function say(text, bad) {
    toast.textContent = text;
    toast.classList.toggle("bad", Boolean(bad));
    toast.hidden = false;
    clearTimeout(say.timer);
    say.timer = setTimeout(() => { toast.hidden = true; }, bad ? 20000 : 8000);
  }
  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
    } catch { // no clipboard without https: at least it is marked
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "press Ctrl-C";
    }
    setTimeout(() => { button.textContent = "copy"; }, 2000);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy) copy(button);
    if (button?.id === "help-open") find("#help").showModal();
  });
  find("#act")?.addEventListener("submit", async (event) => {
    const button = event.submitter;
    event.preventDefault();
    const said = new URLSearchParams(new FormData(event.target));
    for (const key of ["integration", "resource", "id"]) if (button.dataset[key]) said.set(key, button.dataset[key]);
    if (button.name) said.set(button.name, button.value);
    button.disabled = true;
    try {
      const answer = await fetch(button.formAction, { method: "POST", body: said, headers: { "X-Page": "1" } });
      const told = await answer.json();
      say(told.said ?? `${told.error.message}. ${told.error.hint}`, !answer.ok);
      if (!paused) first ? listen() : reread();
    } catch { say("no answer: is syncd running?", true); }
    button.disabled = false;
  });

  find("#every")?.addEventListener("change", (event) => pace(Number(event.target.value)));
  find("#q")?.addEventListener("input", (event) => { put("q", event.target.value); filter(); });
  find("#state")?.addEventListener("change", (event) => { put("state", event.target.value); filter(); });
  if (first) find(".filter")?.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("visibilitychange", () => { heard = document.hidden ? heard : Date.now(); listen(); });
  addEventListener("pagehide", () => { leaving = true; source?.close(); });
  addEventListener("pageshow", () => { leaving = false; listen(); });
  setInterval(tell, 1000);
  tell();
})();
