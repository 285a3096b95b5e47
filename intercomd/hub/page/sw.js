// Rings while no page is open: a message of the hub becomes a notification, a tap on it opens the page, which learns
// everything else from the hub. Nothing is cached here.

const WORDS = {
  en: { ringing: "{caller} is calling", answer: "Tap to answer.", over: "{caller} has called", overNow: "The call is over." },
  zh: { ringing: "{caller} 正在呼叫", answer: "点按以接听。", over: "{caller} 曾呼叫您", overNow: "通话已结束。" },
};
const words = (self.navigator.language || "en").toLowerCase().startsWith("zh") ? WORDS.zh : WORDS.en;
const filled = (text, caller) => text.replace("{caller}", () => caller);

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  const message = understood(event.data);
  if (message?.callId) event.waitUntil(inTurn(() => (message.until * 1000 > Date.now() ? ring(message) : over(message))));
});

// One after the other: Chromium forgets a notification that it is about to show when it is asked for others meanwhile.
let last = Promise.resolve();
const inTurn = (work) => (last = last.then(work, work));

function understood(told) {
  try {
    return told.json();
  } catch {
    return null; // not the hub's
  }
}

const tagOf = (callId) => `call:${callId}`;

const ring = ({ callId, caller = "" }) => self.registration.showNotification(filled(words.ringing, caller), {
  tag: tagOf(callId), body: words.answer, requireInteraction: true, renotify: true, vibrate: [800, 400, 800, 400, 800],
});

// Also for a message that comes late. Each must show something: Safari takes the permission from those that do not, and
// Chromium says something of its own. So the notification becomes a silent one; who has the page before them needs none.
async function over({ callId, caller = "" }) {
  const tag = tagOf(callId);
  await self.registration.showNotification(filled(words.over, caller), { tag, body: words.overNow, silent: true });
  const pages = await ownPages();
  if (!pages.some(({ visibilityState }) => visibilityState === "visible")) return;
  for (const shown of await self.registration.getNotifications({ tag })) shown.close();
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open());
});

async function open() {
  const [page] = await ownPages();
  return page ? page.focus() : self.clients.openWindow("/");
}

// The administrators' is another one.
async function ownPages() {
  const all = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  return all.filter(({ url }) => new URL(url).pathname === "/");
}
