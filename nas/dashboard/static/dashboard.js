"use strict";

// What a page does by itself: it asks for the parts that have changed, and sends what a person asks of a search.
(() => {
  const PACE = 2000; // milliseconds between two looks
  const SLOWEST = 15000;
  const main = document.getElementById("main");
  const said = document.getElementById("said");

  // ---- live parts

  let timer = null;
  let pause = PACE;
  let asked = 0; // of several answers only that to the latest question is shown

  function have() {
    return [...document.querySelectorAll("[data-part]")]
      .map((part) => `${part.dataset.part}:${part.dataset.tag}`)
      .join(",");
  }

  function busyWith(part) {
    const chosen = document.getSelection();
    return chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
  }

  function put(name, news) {
    const part = document.querySelector(`[data-part="${name}"]`);
    if (!part || busyWith(part)) return; // its tag stays as it is, so that it comes again
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const scrolled = part.querySelector(".wide")?.scrollLeft ?? 0;
    part.innerHTML = news.html;
    part.dataset.tag = news.tag;
    const wide = part.querySelector(".wide");
    if (wide) wide.scrollLeft = scrolled;
    if (focused) [...part.querySelectorAll("a")].find((one) => one.getAttribute("href") === focused)?.focus();
  }

  async function look() {
    clearTimeout(timer);
    const number = ++asked;
    const query = new URLSearchParams(location.search);
    query.set("have", have());
    try {
      const answer = await fetch(`${main.dataset.live}?${query}`, {
        headers: { Accept: "application/json" },
        signal: AbortSignal.timeout(SLOWEST),
      });
      if (answer.status === 401) {
        location.assign("/login");
        return;
      }
      if (!answer.ok) throw new Error(answer.statusText);
      const news = await answer.json();
      if (number !== asked) return;
      show(news);
      pause = PACE;
      document.getElementById("link").hidden = true;
    } catch {
      if (number !== asked) return;
      pause = Math.min(SLOWEST, pause * 2);
      document.getElementById("link").hidden = false;
    }
    if (!document.hidden) timer = setTimeout(look, pause);
  }

  function show(news) {
    if ("reading" in news) {
      const count = document.getElementById("count");
      if (count) count.textContent = news.reading.toLocaleString("en");
    } else if ("reading" in main.dataset) {
      location.reload();
    } else {
      Object.entries(news.parts).forEach(([name, one]) => put(name, one));
    }
  }

  if (main.dataset.live) {
    timer = setTimeout(look, "reading" in main.dataset ? 300 : PACE);
    document.addEventListener("visibilitychange", () => {
      clearTimeout(timer);
      if (!document.hidden) look();
    });
  }

  // ---- the table: a filter, a heading or a page is asked for without leaving

  function turn(query) {
    for (const [name, value] of [...query]) if (!value) query.delete(name);
    history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
    look();
  }

  const filter = document.querySelector("form.filter");
  if (filter) {
    let waiting = null;
    const changed = () => turn(new URLSearchParams(new FormData(filter)));
    filter.addEventListener("submit", (event) => {
      event.preventDefault();
      changed();
    });
    for (const kind of ["input", "change"]) {
      filter.addEventListener(kind, () => {
        clearTimeout(waiting);
        waiting = setTimeout(changed, 250);
      });
    }
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-query]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const query = new URL(link.href).searchParams;
      filter.elements.sort.value = query.get("sort") ?? "";
      filter.elements.down.value = query.get("down") ?? "";
      turn(query);
    });
  }

  // ---- pieces that take longer than the page

  function toEnd(details) {
    for (const one of details.querySelectorAll("pre")) one.scrollTop = one.scrollHeight; // where the error stands
  }

  async function fill(piece) {
    try {
      const answer = await fetch(piece.dataset.fetch, { headers: { Accept: "text/html, application/json" } });
      if (answer.ok) {
        piece.innerHTML = await answer.text();
        for (const one of piece.querySelectorAll("details")) one.addEventListener("toggle", () => toEnd(one));
        return;
      }
      if (answer.status === 503) setTimeout(fill, 1000 * (Number(answer.headers.get("Retry-After")) || 2), piece);
      const told = await answer.json().catch(() => ({ error: `This could not be fetched: ${answer.statusText}` }));
      piece.textContent = told.error;
    } catch (error) {
      piece.textContent = `This could not be fetched: ${error.message}`;
    }
  }
  document.querySelectorAll("[data-fetch]").forEach(fill);

  // ---- actions

  async function send(address, given) {
    said.className = "said";
    said.textContent = "…";
    try {
      const answer = await fetch(address, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/json" },
        body: JSON.stringify(given),
      });
      const found = await answer.json();
      said.textContent = found.said ?? found.error;
      said.classList.add(answer.ok ? "good" : "wrong");
    } catch (error) {
      said.textContent = `It could not be sent: ${error.message}`;
      said.classList.add("wrong");
    }
    if (main.dataset.live) look();
  }

  for (const button of document.querySelectorAll("[data-opens]")) {
    button.addEventListener("click", () => document.getElementById(button.dataset.opens).showModal());
  }
  for (const button of document.querySelectorAll("[data-closes]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  for (const form of document.querySelectorAll("form[data-post]")) {
    form.addEventListener("submit", () => {
      const numbers = [...new FormData(form)].filter(([, value]) => value !== "").map(([name, value]) => [name, Number(value)]);
      const given = Object.fromEntries(numbers);
      send(form.dataset.post, form.dataset.into ? { [form.dataset.into]: given } : {});
    });
  }

  // ---- a candidate: decisions that are not active under the others are put aside

  const decisions = document.getElementById("decisions");
  if (decisions) {
    const value = (field) => (field.dataset.kind === "number" ? Number(field.value) : JSON.parse(field.value));
    const holds = (values, [name, relation, wanted]) => {
      if (!(name in values)) return false;
      if (relation === "in") return wanted.includes(values[name]);
      return relation === "==" ? values[name] === wanted : values[name] >= wanted;
    };
    const settle = () => {
      const values = {};
      for (const label of decisions.querySelectorAll("label[data-when]")) {
        const field = label.querySelector("select, input");
        const active = JSON.parse(label.dataset.when).every((clause) => holds(values, clause));
        label.hidden = field.disabled = !active;
        if (active) values[field.name] = value(field);
      }
      return values;
    };
    const text = document.getElementById("candidate");
    const copy = () => {
      text.value = JSON.stringify(settle(), null, 2);
    };
    copy();
    decisions.addEventListener("input", copy);
    decisions.addEventListener("submit", (event) => {
      event.preventDefault();
      send(decisions.dataset.candidate, { candidate: settle() });
    });
    document.getElementById("json").addEventListener("submit", (event) => {
      event.preventDefault();
      let given;
      try {
        given = JSON.parse(text.value);
      } catch (error) {
        said.textContent = `This is no JSON: ${error.message}`;
        said.className = "said wrong";
        return;
      }
      send(decisions.dataset.candidate, { candidate: given?.candidate ?? given });
    });
  }
})();
