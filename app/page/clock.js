// The shop's clock: its days and hours, wherever the browser is.

/**
 * @param {string} timezone an IANA name
 * @returns {(at: number | Date) => {day: string, hour: number, minute: number}}
 */
export function shopClock(timezone) {
  const format = new Intl.DateTimeFormat("en-CA", {
    timeZone: timezone,
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  return (at) => {
    const part = Object.fromEntries(
      format.formatToParts(at).map(({ type, value }) => [type, value]),
    );
    return {
      day: `${part.year}-${part.month}-${part.day}`,
      hour: Number(part.hour),
      minute: Number(part.minute),
    };
  };
}

/**
 * @param {string} day ISO
 * @param {number} days how many later
 * @returns {string} ISO
 */
export function addDays(day, days) {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + days);
  return date.toISOString().slice(0, 10);
}

const short = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  timeZone: "UTC",
});
const long = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  day: "numeric",
  month: "short",
  timeZone: "UTC",
});

/** @param {string} day ISO */
export const shortDay = (day) => short.format(new Date(`${day}T00:00:00Z`));
/** @param {string} day ISO */
export const longDay = (day) => long.format(new Date(`${day}T00:00:00Z`));
/** @param {number} hour 0 to 24 */
export const hourName = (hour) => `${String(hour % 24).padStart(2, "0")}:00`;

/**
 * `3 s`, `2 min`, `5 h`, `3 d`.
 * @param {number} milliseconds
 */
export function age(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}
