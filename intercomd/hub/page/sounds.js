// What the page lets be heard by itself: the bell, the ringback, small signs; and the phone's vibration. All of it is
// made of sine tones with soft edges, so there is no file to load.

const BELL = { notes: [[659.3, 0, 1.3], [523.3, 0.55, 1.9]], loudness: 0.5, every: 3.2 };
const LASTING = {
  ringing: BELL,
  ringback: { notes: [[425, 0, 1]], loudness: 0.08, every: 5 },
  waiting: { notes: [[425, 0, 0.12], [340, 0.2, 0.2]], loudness: 0.06, every: 8 },
  reconnecting: { notes: [[330, 0, 0.12], [330, 0.2, 0.12]], loudness: 0.08, every: 2 },
};
const ONCE = {
  connected: { notes: [[880, 0, 0.09]], loudness: 0.15 },
  restored: { notes: [[660, 0, 0.1], [880, 0.14, 0.14]], loudness: 0.2 },
  warning: { notes: [[740, 0, 0.12], [740, 0.24, 0.12]], loudness: 0.2 },
  ended: { notes: [[440, 0, 0.12], [330, 0.16, 0.2]], loudness: 0.12 },
  failed: { notes: [[330, 0, 0.18], [262, 0.24, 0.34]], loudness: 0.15 },
};
const BUZZ = [500, 250, 500, 1950];
const EDGE_S = 0.012;

export class Sounds {
  // `changed` is called when the browser begins, or ceases, to let us be heard.
  constructor(changed) {
    this.changed = changed;
    this.context = null;
    this.lasting = null;
    this.timer = 0;
    // Not at the first touch but at its end: what is shown changes by it, and must not move away under the finger.
    for (const name of ["click", "keydown"]) {
      window.addEventListener(name, () => this.unlock(), { capture: true, passive: true });
    }
  }

  // Browsers keep a page silent until somebody has touched it.
  get audible() {
    return this.context?.state === "running";
  }

  unlock() {
    if (this.audible) return;
    if (!this.context) {
      this.context = new AudioContext({ latencyHint: "interactive" });
      this.context.onstatechange = () => this.woken();
    }
    this.context.resume().catch(() => {});
  }

  woken() {
    if (this.audible && this.lasting) this.play(LASTING[this.lasting]);
    this.changed();
  }

  // What lasts as long as a phase: "ringing", "ringback", "reconnecting", or null.
  last(name) {
    if (name === this.lasting) return;
    this.hush();
    this.lasting = name;
    if (!name) return;
    if (name === "ringing") this.unlock();
    const again = () => {
      this.play(LASTING[name]);
      if (name === "ringing") this.buzz(BUZZ);
    };
    again();
    this.timer = setInterval(again, LASTING[name].every * 1000);
  }

  once(name) {
    this.play(ONCE[name]);
  }

  hush() {
    if (this.lasting === "ringing") this.buzz(0);
    clearInterval(this.timer);
    this.lasting = null;
    const { context, output } = this;
    if (!output) return;
    // Not cut: a bell that is answered fades.
    output.gain.setTargetAtTime(0, context.currentTime, 0.03);
    this.output = null;
  }

  play({ notes, loudness }) {
    const { context } = this;
    // A suspended clock stands still: everything would be heard at once when it goes on.
    if (!this.audible) return;
    this.output ??= this.newOutput();
    for (const [pitch, at, length] of notes) this.strike(pitch, context.currentTime + at, length, loudness);
  }

  newOutput() {
    const output = this.context.createGain();
    output.connect(this.context.destination);
    return output;
  }

  strike(pitch, at, length, loudness) {
    const gain = this.context.createGain();
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(loudness, at + EDGE_S);
    if (length > 0.5) gain.gain.exponentialRampToValueAtTime(0.001, at + length);
    else gain.gain.setTargetAtTime(0, at + length - EDGE_S, EDGE_S / 3);
    gain.connect(this.output);
    for (const [overtone, share] of [[1, 1], [2, 0.22], [3, 0.08]]) this.sing(pitch * overtone, share, gain, at, length);
  }

  sing(pitch, share, gain, at, length) {
    const tone = this.context.createOscillator();
    const part = this.context.createGain();
    tone.frequency.value = pitch;
    part.gain.value = share;
    tone.connect(part).connect(gain);
    tone.start(at);
    tone.stop(at + length + 0.05);
  }

  buzz(pattern) {
    if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(pattern);
  }
}
