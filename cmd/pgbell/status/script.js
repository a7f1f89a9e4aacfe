// Puts what the server has rendered anew into the page. Nothing is sent while nobody
// looks.

const live = document.getElementById("live");
let source, again;

function say(state, text) {
  live.dataset.state = state;
  live.textContent = text;
}

function connect() {
  clearTimeout(again);
  source?.close();
  if (document.hidden) return;
  source = new EventSource("/status/events" + location.search); // a ?token= goes along
  source.addEventListener("status", (e) => {
    const { data: parts = {} } = JSON.parse(e.data); // a reset has none: all of them follow
    for (const [id, html] of Object.entries(parts)) document.getElementById(id).innerHTML = html;
    say("live", "live");
  });
  source.addEventListener("close", (e) => {
    source.close();
    say("ended", `ended: ${JSON.parse(e.data).reason}`);
  });
  source.addEventListener("error", () => {
    if (live.dataset.state === "ended") return;
    say("wait", "reconnecting");
    // A browser gives up where the answer is not 200, as a proxy's is while we restart.
    if (source.readyState === EventSource.CLOSED) again = setTimeout(connect, 3000 + 2000 * Math.random());
  });
}

document.addEventListener("visibilitychange", () => {
  if (live.dataset.state === "ended") return;
  if (document.hidden) {
    clearTimeout(again);
    source?.close();
    say("wait", "paused");
  } else connect();
});
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (e) => e.persisted && connect());
connect();
