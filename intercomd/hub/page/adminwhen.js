// Moments as administrators read them, also those that are yet to come.

import { language, text, timeOfDay } from "./texts.js";

const DAY_MS = 86400000;

// The reader's own way to write days, where it is one of the chosen language.
const tagOfReader = () => navigator.languages.find((tag) => tag.startsWith(language())) ?? language();

const midnightOf = (day) => new Date(day.getFullYear(), day.getMonth(), day.getDate());

export const dayOf = (at) => new Date(at * 1000).toLocaleDateString(tagOfReader(), { day: "numeric", month: "short" });

// Of a moment ahead: the time if it is today, "tomorrow 07:30", or the date and the time.
export function momentAhead(at, now = new Date()) {
  // Rounded: a day on which the clocks are changed has 23 or 25 hours.
  const days = Math.round((midnightOf(new Date(at * 1000)) - midnightOf(now)) / DAY_MS);
  if (days === 0) return timeOfDay(at);
  if (days === 1) return text("admin.tomorrow", { time: timeOfDay(at) });
  return `${dayOf(at)} ${timeOfDay(at)}`;
}

// 22:00, of a minute of the day.
export const timeOfMinute = (minute) =>
  [Math.floor(minute / 60), minute % 60].map((part) => String(part).padStart(2, "0")).join(":");
