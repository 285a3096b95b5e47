// The page's own words. Phases and errors come from the stations, in both languages.
const WORDS = {
  en: {
    journal: "Journal", newest: "↓ newest", all: "all", hub: "hub",
    ready: "ready", ringing: "ringing", talking: "talking", error: "error", microphone: "mic",
    lit: "lit", dark: "dark",
    call: "Call or answer", bell: "Ring {0}", hangup: "Hang up or refuse", speaker: "Speaker on or off",
    unlock: "Open the door", door: "Door opener",
    kill: "kill −9", killNote: "its supervisor brings it back",
    unplug: "Unplug card", unplugNote: "it says so and waits",
    plug: "Plug card in", plugNote: "it opens by itself",
    capture: "microphone level", playout: "speaker level", closed: "closed",
    running: "running · {0}", waiting: "restarting…", refused: "stopped", stopped: "stopped", starting: "starting…",
    live: "live", connecting: "connecting…", lost: "the demo has ended",
    gone: "The daemon is not running",
    with: "with {0}", route_speaker: "loudspeaker", route_handset: "handset",
    link_down: "hub lost", store_volatile: "state is volatile", store_failing: "state cannot be written",
    hintStart: "The household is starting.",
    hintIdle: "Press the bell at the door.",
    hintRings: "{0} rings: press the green button there to answer, the red one to refuse.",
    hintTalk: "They talk. Open the door with the key, toggle the speaker, kill a daemon, unplug a sound card, or hang up.",
    hintBack: "The call is coming back by itself. Nobody has to press anything.",
    hintCard: "A sound card is gone. Plug it in again: the station opens it by itself, the call goes on.",
    hintError: "Something failed, and the station says what. Pressing again within 10 s retries.",
    place_door: "Door", place_flat: "Flat", place_kitchen: "Kitchen",
    the_door: "The door", the_flat: "The flat", the_kitchen: "The kitchen",
  },
  zh: {
    journal: "日志", newest: "↓ 最新", all: "全部", hub: "中心",
    ready: "就绪", ringing: "响铃", talking: "通话", error: "错误", microphone: "麦克风",
    lit: "亮", dark: "灭",
    call: "呼叫或接听", bell: "呼叫{0}", hangup: "挂断或拒接", speaker: "免提开关",
    unlock: "开门", door: "开门器",
    kill: "kill −9", killNote: "守护程序会将其恢复",
    unplug: "拔掉声卡", unplugNote: "分机会提示并等待",
    plug: "插回声卡", plugNote: "分机会自动重新打开",
    capture: "麦克风电平", playout: "扬声器电平", closed: "已关闭",
    running: "运行中 · {0}", waiting: "正在重启…", refused: "已停止", stopped: "已停止", starting: "正在启动…",
    live: "实时", connecting: "正在连接…", lost: "演示已结束",
    gone: "分机程序未运行",
    with: "对方：{0}", route_speaker: "扬声器", route_handset: "听筒",
    link_down: "与中心断开", store_volatile: "状态未落盘", store_failing: "状态无法写入",
    hintStart: "正在启动各分机。",
    hintIdle: "请按门口机的门铃。",
    hintRings: "{0}正在响铃：按绿色键接听，按红色键拒接。",
    hintTalk: "正在通话。可按钥匙键开门、切换免提、杀掉进程、拔掉声卡，或挂断。",
    hintBack: "通话正在自动恢复，无需任何操作。",
    hintCard: "声卡已拔出。插回后分机会自动打开，通话继续。",
    hintError: "出错了，分机已说明原因。10 秒内再按一次即可重试。",
    place_door: "门口", place_flat: "室内", place_kitchen: "厨房",
    the_door: "门口机", the_flat: "室内机", the_kitchen: "厨房分机",
  },
};

let language = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";

export const currentLanguage = () => language;

export function chooseLanguage(chosen) {
  language = chosen in WORDS ? chosen : "en";
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
}

/** The page's word for `key`, with {0} filled in. An unknown key is shown as it is: a name, say. */
export function say(key, ...parts) {
  const words = WORDS[language][key] ?? key;
  return parts.reduce((text, part, index) => text.replaceAll(`{${index}}`, part), words);
}

/** The name of a station as people say it. */
export const place = (name) => WORDS[language][`place_${name}`] ?? name;

/** The same as a sentence's subject. */
export const thePlace = (name) => WORDS[language][`the_${name}`] ?? name;

/** One of a station's bilingual texts. */
export const inLanguage = (text) => (text ? (text[language] ?? text.en ?? "") : "");
