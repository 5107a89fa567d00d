/** Times as the outputs show them. In: epoch milliseconds with a fraction, which is cut off. */

/** The greatest time that a Date can hold (ECMA-262, section 21.4.1.1). */
const MAX_TIME = 8.64e15;

/** A packet's time comes from a file too: what no Date can hold shows as the epoch. */
export const wholeMilliseconds = (time: number): number => (Math.abs(time) <= MAX_TIME ? Math.floor(time) : 0);

let knownSecond = Number.NaN;
let knownUtc = '';

/** `2026-11-21T03:03:58.120Z` */
export function utcTime(time: number): string {
  const whole = wholeMilliseconds(time);
  const second = Math.floor(whole / 1000);
  // All but the milliseconds and the `Z`, which holds for a second.
  if (second !== knownSecond) {
    knownUtc = new Date(second * 1000).toISOString().slice(0, -4);
    knownSecond = second;
  }
  return `${knownUtc}${pad(whole - second * 1000, 3)}Z`;
}

const pad = (value: number, width = 2): string => String(value).padStart(width, '0');

let knownMinute = Number.NaN;
let knownPrefix = '';
let knownOffset = '';

/** `2026-11-21T11:03:58.120+08:00`, in the time zone of this process. */
export function localTime(time: number): string {
  const whole = wholeMilliseconds(time);
  const minute = Math.floor(whole / 60_000);
  // Offsets change at whole minutes, so that all but the seconds holds for a minute.
  if (minute !== knownMinute) {
    const date = new Date(minute * 60_000);
    const offset = -date.getTimezoneOffset();
    const distance = Math.abs(offset);
    knownPrefix =
      `${pad(date.getFullYear(), 4)}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}` +
      `T${pad(date.getHours())}:${pad(date.getMinutes())}:`;
    knownOffset = `${offset < 0 ? '-' : '+'}${pad(Math.floor(distance / 60))}:${pad(distance % 60)}`;
    knownMinute = minute;
  }
  const rest = whole - minute * 60_000;
  return `${knownPrefix}${pad(Math.floor(rest / 1000))}.${pad(rest % 1000, 3)}${knownOffset}`;
}
