// Everything that people read, in English and Chinese. `{name}` is filled in, as text, never as HTML.

const EN = {
  "app.name": "Intercom",
  "app.language": "中文",
  "app.languageLabel": "切换到中文",
  "app.signOut": "Sign out",
  "app.skip": "Skip to the content",
  "app.loading": "One moment…",
  "welcome.title": "Answer your door from here",
  "welcome.out": "Open the invitation link that you were given for your home. It signs in this browser.",
  "welcome.invited": "You are invited. Sign in, and this device rings when somebody is at your door.",
  "welcome.signIn": "Sign in on this device",
  "welcome.used": "This invitation was already used, or it is too old. Ask whoever looks after the intercom for a new one.",
  "welcome.failed": "The intercom could not be reached. Check the network, then try again.",
  "welcome.left": "You are signed out. To sign in again, ask for a new invitation.",
  "welcome.ended": "This device was signed out. To sign in again, ask for a new invitation.",
  "welcome.asked": "You will be asked for the microphone when you talk for the first time, not before.",
  "ready.yes": "This device rings",
  "ready.yesWhy": "When somebody is at the door, it rings here. Keep this page open.",
  "ready.silent": "One tap, so that it can be heard",
  "ready.silentWhy": "Browsers keep a page silent until it is touched. Until then it rings without a sound.",
  "ready.sound": "Turn the bell on",
  "ready.quiet": "Do not disturb",
  "ready.quietWhy": "Nobody rings at your devices until {time}.",
  "ready.offline": "Not connected",
  "ready.offlineWhy": "The intercom cannot be reached. Trying again by itself…",
  "ready.connecting": "Connecting…",
  "ready.connectingWhy": "One moment please.",
  "ready.denied": "It rings, but nobody would hear you",
  "ready.deniedWhy": "The microphone is blocked for this page. Allow it in the browser's settings for this site.",
  "ready.insecure": "This device cannot take calls",
  "ready.insecureWhy": "The address is not secure (http), so the browser gives no microphone. Use the https address.",
  "ready.old": "This page is out of date",
  "ready.oldWhy": "The intercom speaks a newer protocol. Load the page again.",
  "ready.reload": "Load again",
  "ready.details": "What was checked",
  "check.link.yes": "Connected to the intercom",
  "check.link.no": "Not connected to the intercom",
  "check.secure.yes": "The address is secure",
  "check.secure.no": "The address is not secure",
  "check.microphone.granted": "The microphone is allowed",
  "check.microphone.prompt": "The browser will ask for the microphone at the first call",
  "check.microphone.denied": "The microphone is blocked",
  "check.sound.yes": "The bell can be heard",
  "check.sound.no": "The bell is silent until you touch the page",
  "check.page.yes": "The page is in front",
  "check.page.no": "The page is in the background: a phone may put it to sleep",
  "check.closed": "Closed, this page cannot ring",
  "stations.title": "Call",
  "stations.none": "There is no station yet that you may call.",
  "stations.call": "Call {name}",
  "stations.online": "Ready",
  "stations.offline": "Not reachable",
  "stations.group": "Group",
  "calls.title": "Recent calls",
  "calls.none": "No calls yet. They will be listed here.",
  "calls.back": "Call {name} back",
  "calls.in": "Incoming",
  "calls.out": "Outgoing",
  "calls.completed": "{duration}",
  "calls.missed": "Missed",
  "calls.unanswered": "Not answered",
  "calls.rejected": "Declined",
  "calls.busy": "Busy",
  "calls.cancelled": "Cancelled",
  "calls.offline": "Not reachable",
  "calls.quiet": "Not to be disturbed",
  "calls.answered_elsewhere": "Answered by somebody else",
  "calls.failed": "Could not be loaded",
  "calls.yesterday": "Yesterday",
  "phase.initializing": "Starting the call…",
  "phase.permission": "Please allow the microphone…",
  "phase.connecting": "Connecting…",
  "phase.ringing_out": "Ringing, waiting for an answer…",
  "phase.ringing_in": "is calling",
  "phase.queued": "Talks with somebody else. {ahead} before you; it rings as soon as it is your turn.",
  "phase.next": "Talks with somebody else. You are next; it rings as soon as they are free.",
  "phase.connected": "In a call",
  "phase.reconnecting": "The connection broke. One moment, it comes back…",
  "phase.away": "The other side is away. Waiting for it…",
  "phase.ending": "Ending the call…",
  "call.answer": "Answer",
  "call.decline": "Decline",
  "call.hangUp": "Hang up",
  "call.mute": "Mute",
  "call.unmute": "Muted",
  "call.muteLabel": "Mute the microphone",
  "call.volume": "Volume",
  "call.speaker": "Loudspeaker",
  "call.speakerDefault": "Standard loudspeaker",
  "call.speakerOther": "Loudspeaker {number}",
  "call.deaf": "Your microphone is gone: you hear, but are not heard.",
  "call.endsIn": "This call ends in {seconds} s.",
  "call.prolong": "Go on talking",
  "call.muffled": "Tap to hear the other side",
  "call.quality": "Quality",
  "call.qualityOf.4": "Excellent",
  "call.qualityOf.3": "Good",
  "call.qualityOf.2": "Fair",
  "call.qualityOf.1": "Poor",
  "call.latency": "Delay, mouth to ear",
  "call.loss": "Lost or concealed",
  "call.roundTrip": "Round trip",
  "call.jitter": "Jitter",
  "call.buffer": "Waits in the buffer",
  "call.mos": "Score (MOS, of 4.5)",
  "call.ms": "{value} ms",
  "call.percent": "{value} %",
  "door.open": "Open the door",
  "door.openAt": "Open the door at {name}",
  "door.asking": "Opening the door at {name}…",
  "door.opened": "The door at {name} is open.",
  "door.not_allowed": "You may not open the door at {name}.",
  "door.user_offline": "{name} is not connected: the door was not opened.",
  "door.no_door": "There is no door at {name} that can be opened from here.",
  "door.door_stuck": "The opener at {name} does not switch: the door was not opened.",
  "door.expired": "It took too long on the way: the door was not opened. Try again.",
  "door.unconfirmed": "No answer from {name}: the door may have opened.",
  "door.unsent": "This device is not connected: the door was not opened.",
  "door.rate_limited": "Too often: wait a moment, then try again.",
  "door.failed": "The door was not opened. Please try again.",
  "announce.ringing": "{name} is calling",
  "told.missed": "You missed a call from {name}.",
  "told.elsewhere": "Answered on another device.",
  "told.ended": "Call with {name} ended.",
  "told.limit": "The call with {name} has reached the time limit.",
  "told.close": "Close",
  "quiet.on": "Do not disturb for 8 hours",
  "quiet.off": "Ring here again",
  "quiet.failed": "That did not work. Please try again.",
  "error.title": "The call failed",
  "error.NotAllowedError": "Talking needs the microphone, and its use is not allowed.",
  "error.NotFoundError": "No usable microphone was found.",
  "error.NetworkError": "The network connection is unstable. Check it, then try again.",
  "error.TimeoutError": "It took too long. Please try again later.",
  "error.UnknownError": "Something went wrong with the call. Please try again.",
  "error.ok": "OK",
  "error.retry": "Try again",
  "reason.microphone_denied": "Talking needs the microphone. Allow it for this page in the browser's settings, then try again.",
  "reason.microphone_missing": "No microphone was found. Plug one in, then try again.",
  "reason.microphone_failed": "The microphone cannot be used at the moment. Perhaps another program holds it.",
  "reason.user_offline": "{name} is not connected at the moment.",
  "reason.busy": "{name} is in another call.",
  "reason.do_not_disturb": "{name} does not want to be disturbed at the moment.",
  "reason.timeout": "{name} did not answer in time.",
  "reason.rejected": "{name} declined the call.",
  "reason.not_allowed": "You may not call {name}.",
  "reason.peer_lost": "{name} vanished from the network and did not come back.",
  "reason.media_failed": "No connection for the voice could be built. Check the network, then try again.",
  "reason.card_missing": "{name} has no working sound.",
  "reason.card_denied": "{name} has no working sound.",
};

const ZH = {
  "app.name": "楼宇对讲",
  "app.language": "English",
  "app.languageLabel": "Switch to English",
  "app.signOut": "退出登录",
  "app.skip": "跳到正文",
  "app.loading": "请稍候…",
  "welcome.title": "在这里应答家门",
  "welcome.out": "请打开您收到的家庭邀请链接，即可在此浏览器登录。",
  "welcome.invited": "您已受邀。登录后，有人到访时本设备会响铃。",
  "welcome.signIn": "在本设备上登录",
  "welcome.used": "此邀请已被使用或已过期。请向对讲系统的管理者索取新的邀请。",
  "welcome.failed": "无法连接对讲系统。请检查网络后重试。",
  "welcome.left": "您已退出登录。如需再次登录，请索取新的邀请。",
  "welcome.ended": "本设备的登录已被取消。如需再次登录，请索取新的邀请。",
  "welcome.asked": "首次通话时才会请求麦克风权限。",
  "ready.yes": "本设备可以响铃",
  "ready.yesWhy": "有人到访时，这里会响铃。请保持此页面打开。",
  "ready.silent": "点一下，才能听到铃声",
  "ready.silentWhy": "页面被触碰之前，浏览器不允许发出声音，只能无声响铃。",
  "ready.sound": "打开铃声",
  "ready.quiet": "免打扰",
  "ready.quietWhy": "{time} 之前，您的设备不会响铃。",
  "ready.offline": "未连接",
  "ready.offlineWhy": "无法连接对讲系统，正在自动重试…",
  "ready.connecting": "正在连接…",
  "ready.connectingWhy": "请稍候。",
  "ready.denied": "会响铃，但对方听不到您",
  "ready.deniedWhy": "此页面的麦克风已被禁用。请在浏览器的网站设置中允许使用。",
  "ready.insecure": "本设备无法接听",
  "ready.insecureWhy": "此地址不安全（http），浏览器不提供麦克风。请使用 https 地址。",
  "ready.old": "页面版本过旧",
  "ready.oldWhy": "对讲系统使用了更新的协议，请重新加载页面。",
  "ready.reload": "重新加载",
  "ready.details": "检查项目",
  "check.link.yes": "已连接对讲系统",
  "check.link.no": "未连接对讲系统",
  "check.secure.yes": "地址安全",
  "check.secure.no": "地址不安全",
  "check.microphone.granted": "已允许使用麦克风",
  "check.microphone.prompt": "首次通话时浏览器会请求麦克风权限",
  "check.microphone.denied": "麦克风已被禁用",
  "check.sound.yes": "可以听到铃声",
  "check.sound.no": "触碰页面之前铃声无声",
  "check.page.yes": "页面在前台",
  "check.page.no": "页面在后台：手机可能会使其休眠",
  "check.closed": "页面关闭后无法响铃",
  "stations.title": "呼叫",
  "stations.none": "目前没有您可以呼叫的站点。",
  "stations.call": "呼叫 {name}",
  "stations.online": "可呼叫",
  "stations.offline": "无法连通",
  "stations.group": "群组",
  "calls.title": "最近通话",
  "calls.none": "还没有通话记录。",
  "calls.back": "回拨 {name}",
  "calls.in": "呼入",
  "calls.out": "呼出",
  "calls.completed": "{duration}",
  "calls.missed": "未接",
  "calls.unanswered": "无人接听",
  "calls.rejected": "已拒接",
  "calls.busy": "对方忙",
  "calls.cancelled": "已取消",
  "calls.offline": "无法连通",
  "calls.quiet": "对方免打扰",
  "calls.answered_elsewhere": "他人已接听",
  "calls.failed": "无法加载",
  "calls.yesterday": "昨天",
  "phase.initializing": "正在初始化通话…",
  "phase.permission": "请允许使用麦克风…",
  "phase.connecting": "正在建立连接…",
  "phase.ringing_out": "等待对方接听…",
  "phase.ringing_in": "来电",
  "phase.queued": "对方正在与他人通话，您前面还有 {ahead} 位；轮到您时会自动响铃。",
  "phase.next": "对方正在与他人通话，下一位就是您；对方空闲时会自动响铃。",
  "phase.connected": "通话中",
  "phase.reconnecting": "连接中断，正在恢复，请稍候…",
  "phase.away": "对方暂时离开，正在等待…",
  "phase.ending": "正在结束通话…",
  "call.answer": "接听",
  "call.decline": "拒接",
  "call.hangUp": "挂断",
  "call.mute": "静音",
  "call.unmute": "已静音",
  "call.muteLabel": "麦克风静音",
  "call.volume": "音量",
  "call.speaker": "扬声器",
  "call.speakerDefault": "默认扬声器",
  "call.speakerOther": "扬声器 {number}",
  "call.deaf": "麦克风已断开：您能听到对方，对方听不到您。",
  "call.endsIn": "通话将在 {seconds} 秒后结束。",
  "call.prolong": "继续通话",
  "call.muffled": "点按以听到对方",
  "call.quality": "通话质量",
  "call.qualityOf.4": "优",
  "call.qualityOf.3": "良",
  "call.qualityOf.2": "一般",
  "call.qualityOf.1": "较差",
  "call.latency": "口到耳延迟",
  "call.loss": "丢失或补偿",
  "call.roundTrip": "往返时延",
  "call.jitter": "抖动",
  "call.buffer": "缓冲等待",
  "call.mos": "评分（MOS，满分 4.5）",
  "call.ms": "{value} 毫秒",
  "call.percent": "{value} %",
  "door.open": "开门",
  "door.openAt": "打开 {name} 的门",
  "door.asking": "正在打开 {name} 的门…",
  "door.opened": "{name} 的门已打开。",
  "door.not_allowed": "您没有打开 {name} 的门的权限。",
  "door.user_offline": "{name} 未连接，门没有打开。",
  "door.no_door": "{name} 没有可从这里打开的门。",
  "door.door_stuck": "{name} 的开门器没有动作，门没有打开。",
  "door.expired": "命令迟到，门没有打开，请重试。",
  "door.unconfirmed": "{name} 没有应答，门可能已经打开。",
  "door.unsent": "本设备未连接，门没有打开。",
  "door.rate_limited": "操作过于频繁，请稍候再试。",
  "door.failed": "门没有打开，请重试。",
  "announce.ringing": "{name} 来电",
  "told.missed": "您错过了 {name} 的来电。",
  "told.elsewhere": "已在其他设备上接听。",
  "told.ended": "与 {name} 的通话已结束。",
  "told.limit": "与 {name} 的通话已到时限。",
  "told.close": "关闭",
  "quiet.on": "免打扰 8 小时",
  "quiet.off": "恢复响铃",
  "quiet.failed": "操作未成功，请重试。",
  "error.title": "通话失败",
  "error.NotAllowedError": "需要麦克风权限才能进行语音通话。",
  "error.NotFoundError": "未找到可用的音频设备。",
  "error.NetworkError": "网络连接不稳定，请检查网络后重试。",
  "error.TimeoutError": "连接超时，请稍后再试。",
  "error.UnknownError": "通话过程中发生错误，请重试。",
  "error.ok": "确定",
  "error.retry": "重试",
  "reason.microphone_denied": "需要麦克风权限才能通话。请在浏览器设置中允许此页面使用麦克风，然后重试。",
  "reason.microphone_missing": "未找到麦克风。请插入麦克风后重试。",
  "reason.microphone_failed": "麦克风暂时无法使用，可能被其他程序占用。",
  "reason.user_offline": "{name} 目前未连接。",
  "reason.busy": "{name} 正在通话中。",
  "reason.do_not_disturb": "{name} 目前不希望被打扰。",
  "reason.timeout": "{name} 没有及时接听。",
  "reason.rejected": "{name} 拒绝了通话。",
  "reason.not_allowed": "您不能呼叫 {name}。",
  "reason.peer_lost": "{name} 已断开网络，没有回来。",
  "reason.media_failed": "无法建立语音连接。请检查网络后重试。",
  "reason.card_missing": "{name} 的声音设备无法工作。",
  "reason.card_denied": "{name} 的声音设备无法工作。",
};

export const TEXTS = { en: EN, zh: ZH };

// Those of another page, beside these.
export function addTexts(more) {
  for (const [tag, texts] of Object.entries(more)) Object.assign(TEXTS[tag], texts);
}

const LANGUAGE_KEY = "intercom.language";
let chosen = "en";

// As chosen here before, or as the browser's owner reads.
export function chooseLanguage() {
  const wanted = [remembered(), ...navigator.languages].map((tag) => String(tag).slice(0, 2));
  chosen = wanted.find((tag) => tag in TEXTS) ?? "en";
  document.documentElement.lang = chosen;
}

export function otherLanguage() {
  chosen = chosen === "en" ? "zh" : "en";
  document.documentElement.lang = chosen;
  try {
    window.localStorage.setItem(LANGUAGE_KEY, chosen);
  } catch {
    // It holds until the page is closed.
  }
}

export const language = () => chosen;

export function text(key, values = {}) {
  const found = TEXTS[chosen][key] ?? TEXTS.en[key] ?? key;
  return found.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

export const hasText = (key) => key in TEXTS.en;

// 0:07, 12:34, 1:02:03
export function clockTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
  return parts.map((part, position) => (position ? String(part).padStart(2, "0") : String(part))).join(":");
}

// When a call was: the time of today, "Yesterday", or the date.
export function dayAndTime(at, now = new Date()) {
  const day = new Date(at * 1000);
  const time = timeOfDay(at);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  if (day >= midnight) return time;
  if (midnight - day < 86400000) return `${text("calls.yesterday")} ${time}`;
  return `${day.toLocaleDateString(locale(), { day: "numeric", month: "short" })} ${time}`;
}

// 07:30
export function timeOfDay(at) {
  return new Date(at * 1000).toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });
}

// The reader's own way to write times, where it is one of the chosen language.
const locale = () => navigator.languages.find((tag) => tag.startsWith(chosen)) ?? chosen;

function remembered() {
  try {
    return window.localStorage.getItem(LANGUAGE_KEY);
  } catch {
    return null;
  }
}
