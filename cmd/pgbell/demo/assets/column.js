// One user's column: her stream, her lists, and what her stream received.

const scopes = ["tasks", "notes"];
const logged = 40; // events shown

// When a change was asked for, by the origin that its events bring back.
export const clicks = new Map();

export class Column {
  constructor(section) {
    this.section = section;
    this.user = section.dataset.user;
    this.since = section.dataset.cursor; // what the lists show: the stream goes on from there
    this.events = 0;
    this.refreshes = 0;
    this.cause = null; // of the next refresh: {since, what}
    this.news = []; // events that the log doesn't show yet
    this.html = new Map(); // of each row, as the server sent it
    for (const li of section.querySelectorAll("[data-key]")) this.html.set(keyOf(li), li.outerHTML);
    this.connect();
  }

  part(name) { return this.section.querySelector(`[data-part=${name}]`); }

  // connect opens the stream. From then on the browser comes back by itself, and says
  // which event was its last, so that it misses none.
  connect() {
    const query = new URLSearchParams({ user: this.user, since: this.since });
    for (const scope of scopes) query.append("scope", scope);
    this.source?.close();
    const source = this.source = new EventSource("/events?" + query);
    source.addEventListener("ready", () => this.state("live", "live"));
    for (const scope of scopes) source.addEventListener(scope, (e) => this.received(e));
    source.addEventListener("error", () => {
      this.state("wait", "reconnecting");
      if (source.readyState !== EventSource.CLOSED) return;
      // Refused, so the browser gives up. Perhaps another server is starting here.
      setTimeout(() => { if (this.source === source && !document.hidden) this.connect(); }, 2000);
    });
  }

  // pause closes the stream: a browser has six connections to a server, and other tabs
  // want some. connect goes on where it was.
  pause() {
    this.source.close();
    this.state("wait", "paused");
  }

  state(kind, words) {
    const state = this.part("state");
    if (state.textContent === words) return;
    state.textContent = words;
    state.dataset.state = kind;
  }

  // received is all there is to live invalidation: a scope's name came by, so fetch what
  // is shown of it. A reset comes under the same name and needs no more.
  received(e) {
    this.since = e.lastEventId || this.since;
    this.events++;
    this.section.dispatchEvent(new Event("news"));
    this.news.push(e);
    if (this.news.length > logged) this.news.shift();
    this.draw();
    const change = JSON.parse(e.data);
    if (clicks.has(change.origin)) {
      this.cause ??= { since: clicks.get(change.origin), what: "the click" };
    } else if (change.at) {
      this.cause ??= { since: Date.parse(change.at) - performance.timeOrigin, what: "the change" };
    }
    this.refresh();
  }

  // refresh fetches the lists. What comes meanwhile is one more fetch, no matter how much.
  async refresh() {
    this.wanted = true;
    if (this.fetching) return;
    this.fetching = true;
    while (this.wanted) {
      this.wanted = false;
      const cause = this.cause;
      this.cause = null;
      try {
        const answer = await fetch("/demo/rows?" + new URLSearchParams({ user: this.user }));
        if (!answer.ok) throw new Error(await answer.text());
        this.show(await answer.text());
        this.refreshes++;
        if (this.failing) this.say("");
        this.failing = false;
        if (cause) this.timing(performance.now() - cause.since, cause.what);
      } catch {
        this.failing = true;
        this.say("The lists can't be fetched: trying again.");
        await new Promise((done) => setTimeout(done, 1000));
        this.wanted = true;
      }
      this.draw();
    }
    this.fetching = false;
  }

  // show puts what the server sent into the lists, and touches only what is different.
  show(html) {
    const template = document.createElement("template");
    template.innerHTML = html; // escaped by the server
    for (const list of template.content.querySelectorAll("[data-list]")) {
      const name = list.dataset.list;
      this.section.querySelector(`[data-total=${name}]`).textContent = list.dataset.total;
      this.replace(this.section.querySelector(`[data-list=${name}]`), [...list.children]);
    }
    offer(template.content.querySelector("[data-many]").dataset.many);
    const count = (name) => this.section.querySelector(`[data-total=${name}]`).textContent;
    this.part("summary").textContent = `${this.user}: ${count("tasks")} tasks, ${count("notes")} notes`;
  }

  replace(ul, rows) {
    const old = new Map([...ul.children].map((li) => [keyOf(li), li]));
    const focus = focusIn(ul);
    let next = ul.firstElementChild;
    for (const row of rows) {
      const key = keyOf(row), html = row.outerHTML, now = old.get(key);
      old.delete(key);
      if (now === next) next = next?.nextElementSibling ?? null;
      if (now && this.html.get(key) === html) {
        if (now.nextElementSibling !== next) ul.insertBefore(now, next);
        continue;
      }
      now?.remove();
      this.html.set(key, html);
      row.classList.toggle("changed", !row.matches(".more"));
      ul.insertBefore(row, next);
    }
    for (const [key, li] of old) {
      li.remove();
      this.html.delete(key);
    }
    focus?.();
  }

  // redraw has a row drawn as the server has it, even if that is as it was: a box may be
  // ticked in vain.
  redraw(li) {
    if (li) this.html.delete(keyOf(li));
    this.refresh();
  }

  timing(ms, what) {
    this.say("");
    this.part("timing").textContent = `refreshed ${Math.max(0, Math.round(ms))} ms after ${what}`;
  }

  // say shows what went wrong where the timing is.
  say(words) {
    if (words) this.part("timing").textContent = "";
    this.part("message").textContent = words;
  }

  // draw shows the newest events and the counts, once per frame.
  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      const log = this.part("log");
      log.prepend(...this.news.splice(0).map(entry).reverse());
      while (log.children.length > logged) log.lastChild.remove();
      this.part("counts").textContent = `${plural(this.events, "event")}, ${plural(this.refreshes, "refresh", "refreshes")}`;
    });
  }
}

// offer enables what can be done about the thousand rows, which are there or not.
function offer(there) {
  for (const button of document.querySelectorAll("[data-if-many]")) {
    const focus = document.activeElement === button;
    button.disabled = button.dataset.ifMany !== there;
    if (focus && button.disabled) document.querySelector(`[data-if-many=${there}]`).focus();
  }
}

function keyOf(li) { return li.dataset.key; }

function plural(n, one, more = one + "s") { return `${n.toLocaleString("en")} ${n === 1 ? one : more}`; }

// entry is an event: its name, what happened, and its data as it came.
function entry(e) {
  const li = document.createElement("li"), name = document.createElement("b"), data = document.createElement("code");
  const { op, moved } = JSON.parse(e.data);
  li.dataset.op = moved ? "moved" : op;
  name.textContent = `${e.type}: ${op}${moved ? `, moved ${moved}` : ""}`;
  data.textContent = e.data;
  li.append(name, data);
  return li;
}

// focusIn returns what puts the focus back where it was in ul, or on a neighbour of a row
// that is gone; nothing if it wasn't there.
function focusIn(ul) {
  const control = document.activeElement, li = control?.closest("li");
  if (!li || !ul.contains(li)) return null;
  const key = keyOf(li), at = [...ul.children].indexOf(li), action = control.dataset.action;
  return () => {
    if (control.isConnected) return control.focus();
    const rows = [...ul.children];
    const to = rows.find((row) => keyOf(row) === key) ?? rows[Math.min(at, rows.length - 1)];
    (to?.querySelector(`[data-action=${action}]`) ?? to?.querySelector("[data-action]") ??
      ul.parentElement.querySelector("input"))?.focus();
  };
}
