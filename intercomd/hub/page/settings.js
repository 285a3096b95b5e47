// Which loudspeaker, and how loud: kept in this browser.

const VOLUME_KEY = "intercom.volume";
const SPEAKER_KEY = "intercom.speaker";

export class Settings {
  constructor(element, model) {
    this.element = element;
    this.model = model;
    const volume = Number(recallSetting(VOLUME_KEY) ?? 1);
    this.setVolume(volume >= 0 && volume <= 1 ? volume : 1);
    model.speaker = recallSetting(SPEAKER_KEY) ?? "";
  }

  setVolume(value) {
    this.element.volume = value;
    this.model.volume = value;
    keepSetting(VOLUME_KEY, value);
  }

  // The browser names its loudspeakers only once the microphone is allowed; not every browser lets us choose.
  async refresh() {
    if (!("setSinkId" in this.element) || !navigator.mediaDevices) return;
    const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    this.model.speakers = devices.filter(({ kind, deviceId }) => kind === "audiooutput" && deviceId);
    const there = this.model.speakers.some(({ deviceId }) => deviceId === this.model.speaker);
    await this.use(there ? this.model.speaker : "");
  }

  async setSpeaker(id) {
    await this.use(id);
    keepSetting(SPEAKER_KEY, this.model.speaker);
  }

  async use(id) {
    if (this.element.sinkId === id) return;
    try {
      await this.element.setSinkId(id);
      this.model.speaker = id;
    } catch {
      // It was unplugged meanwhile: the sound stays where it is.
      this.model.speaker = this.element.sinkId;
    }
  }
}

function recallSetting(key) {
  try {
    return window.localStorage.getItem(key);
  } catch {
    return null;
  }
}

function keepSetting(key, value) {
  try {
    window.localStorage.setItem(key, String(value));
  } catch {
    // It holds until the page is closed.
  }
}
