// One stream of events for the whole page, and the calls it makes. Each event holds all there is to show.

export const live = { state: null, trace: { entries: [], pending: 0 } };

let source = null;
let asked = "";

export function listen(people, inspecting, { onState, onTrace, onLine }) {
  const query = `user=${people.join(",")}&traffic=${inspecting ? 1 : 0}`;
  if (source && query === asked) return;
  asked = query;
  source?.close();
  const opened = new EventSource("api/events?" + query);
  source = opened;
  opened.onopen = () => onLine(true);
  opened.onmessage = (event) => { live.state = JSON.parse(event.data); onState(); };
  opened.addEventListener("traffic", (event) => { live.trace = JSON.parse(event.data); onTrace(); });
  opened.onerror = () => {
    if (source !== opened) return;
    onLine(false);
    // The browser comes back by itself after a lost connection, but not after a refusal.
    if (opened.readyState !== EventSource.CLOSED) return;
    setTimeout(() => {
      if (source !== opened) return;
      source = null;
      listen(people, inspecting, { onState, onTrace, onLine });
    }, 1000);
  };
}

export async function post(path, body = {}) {
  let response;
  try {
    response = await fetch("api/" + path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The sandbox does not answer");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `The sandbox answered ${response.status}`);
  return answer;
}

export function userOf(id) {
  return live.state?.users.find((user) => user.id === id);
}
