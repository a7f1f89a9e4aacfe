// The demo's page: two columns that refresh when their streams say so, and buttons that
// change rows. The buttons don't touch the lists: what they do comes back as an event.

import { Column, clicks } from "./column.js";

const columns = [...document.querySelectorAll("section.user")].map((section) => new Column(section));

document.addEventListener("visibilitychange", () => {
  for (const column of columns) document.hidden ? column.pause() : column.connect();
});

// Each click has an origin of its own, by which its events are known when they come.
const page = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
let count = 0;

// What the thousand rows' buttons say while they are at it, and then.
const words = { "add-many": ["Inserting", "Inserted"], "toggle-many": ["Updating", "Updated"], "delete-many": ["Deleting", "Deleted"] };

async function act(control, action, text = "") {
  if (control.dataset.busy) return false;
  control.dataset.busy = "yes";
  const user = control.closest("[data-user]"), told = user.querySelector("[data-part=told]"), began = performance.now();
  if (told) told.textContent = `${words[action][0]} …`;
  const origin = `page-${page}-${++count}`;
  clicks.set(origin, performance.now());
  setTimeout(() => clicks.delete(origin), 60_000);
  let problem = "";
  try {
    const answer = await fetch("/demo/change", {
      method: "POST",
      body: new URLSearchParams({ action, text, origin, user: user.dataset.user, id: control.closest("[data-id]")?.dataset.id ?? 0 }),
    });
    if (!answer.ok) problem = await answer.text();
    else if (told) {
      const rows = Number(answer.headers.get("Demo-Rows")).toLocaleString("en");
      told.textContent = `${words[action][1]} ${rows} rows in ${Math.round(performance.now() - began)} ms, by one statement.`;
    }
  } catch {
    problem = "The demo does not answer: is it still running?";
  }
  delete control.dataset.busy;
  if (problem && told) told.textContent = "";
  const column = columns.find((column) => column.section === user);
  if (column) column.say(problem);
  else user.querySelector("[data-part=message]").textContent = problem;
  if (problem) column?.redraw(control.closest("li"));
  return !problem;
}

// On a phone one column is shown, and the other's tab says what comes there meanwhile.
const tabs = [...document.querySelectorAll("[data-tab]")];

function show(user) {
  document.body.dataset.shows = user;
  for (const tab of tabs) {
    tab.setAttribute("aria-pressed", tab.dataset.tab === user);
    if (tab.dataset.tab === user) news(tab, 0);
  }
}

function news(tab, count) {
  tab.dataset.news = count;
  tab.querySelector("[data-part=news]").textContent = count > 0 ? `${count.toLocaleString("en")} new` : "";
}

for (const { section, user } of columns) {
  section.addEventListener("news", () => {
    const tab = tabs.find((tab) => tab.dataset.tab === user);
    if (document.body.dataset.shows !== user) news(tab, Number(tab.dataset.news) + 1);
  });
}
for (const tab of tabs) news(tab, 0);
show(columns[0].user);

document.addEventListener("click", (e) => {
  const button = e.target.closest("button");
  if (button?.dataset.tab) show(button.dataset.tab);
  if (button?.dataset.action) act(button, button.dataset.action);
  if (button && "copy" in button.dataset) copy(button);
});

document.addEventListener("change", (e) => {
  if (e.target.dataset.action) act(e.target, e.target.dataset.action);
});

document.addEventListener("submit", async (e) => {
  e.preventDefault();
  const input = e.target.elements.text;
  if (await act(e.target, e.target.dataset.action, input.value)) e.target.reset();
});

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.previousElementSibling);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}
