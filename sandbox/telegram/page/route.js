// What is open is in the address: #user=1001,1002&inspector=1. Back and forward work, and a link shows the same.

export const MOST_PANES = 3;

let active = 0; // the chat that a pick in the list replaces

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const people = (given.get("user") || "").split(",").map(Number).filter((id) => Number.isSafeInteger(id) && id > 0);
  return { people: [...new Set(people)].slice(0, MOST_PANES), inspecting: given.get("inspector") === "1" };
}

function write({ people, inspecting }) {
  const parts = [];
  if (people.length) parts.push("user=" + people.join(","));
  if (inspecting) parts.push("inspector=1");
  location.hash = parts.join("&");
}

export const route = {
  get people() { return read().people; },
  get inspecting() { return read().inspecting; },
  get active() { return read().people.includes(active) ? active : read().people[0] || 0; },
  set active(id) { active = id; },

  show(id) {
    const now = read();
    if (!now.people.includes(id)) {
      const at = now.people.indexOf(this.active);
      if (at < 0) now.people = [id];
      else now.people[at] = id;
    }
    active = id;
    write(now);
  },

  showBeside(id) {
    const now = read();
    if (!now.people.includes(id)) {
      if (now.people.length === MOST_PANES) now.people.pop();
      now.people.push(id);
    }
    active = id;
    write(now);
  },

  leave(id) {
    const now = read();
    write({ ...now, people: now.people.filter((one) => one !== id) });
  },

  leaveAll() { write({ ...read(), people: [] }); },

  inspect(inspecting) { write({ ...read(), inspecting }); },
};
