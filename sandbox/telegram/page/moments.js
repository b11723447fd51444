// Dates as a chat shows them, by the sandbox's clock (which may have travelled) and the reader's time zone.

const DAY = 86400;

const dayKey = (seconds) => new Date(seconds * 1000).toDateString();

export function sameDay(one, other) { return dayKey(one) === dayKey(other); }

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
}

export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleString([], { dateStyle: "full", timeStyle: "medium", hour12: false });
}

export function day(seconds, now) {
  if (sameDay(seconds, now)) return "Today";
  if (sameDay(seconds, now - DAY)) return "Yesterday";
  const sameYear = new Date(seconds * 1000).getFullYear() === new Date(now * 1000).getFullYear();
  return new Date(seconds * 1000).toLocaleDateString([], { day: "numeric", month: "long", ...(sameYear ? {} : { year: "numeric" }) });
}

// For the list of people: the time today, the day before that.
export function short(seconds, now) {
  if (!seconds) return "";
  if (sameDay(seconds, now)) return clock(seconds);
  return new Date(seconds * 1000).toLocaleDateString([], { day: "numeric", month: "short" });
}

export function precise(iso) {
  const at = new Date(iso);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  return `${time}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

export function lasted(ms) {
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

export function ago(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return seconds < DAY ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / DAY)} d`;
}
