// Microphone, loudspeaker, and one peer connection for each epoch. It knows no calls.

import { microphoneReason } from "./errors.js";
import { read } from "./quality.js";

const MICROPHONE = {
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
};
const WATCH_MS = 250;
const SILENT_MS = 1000;
const LOST_MS = 3000;
const TELL_EVERY = 4;
const MAX_EARLY = 64;

// `listener` hears microphone(), noMicrophone(reason), described(epoch, sdp), candidate(epoch, candidate), up(epoch),
// silent(epoch), lost(epoch), measured(reading), muffled(yes): the browser does not let us play.
export class Media {
  constructor(element, listener) {
    this.element = element;
    this.listener = listener;
    this.servers = [];
    this.track = null;
    this.muted = false;
    this.request = 0;
    this.epoch = null;
    this.early = [];
  }

  // The browser asks the person, where that was not yet decided.
  async openMicrophone() {
    const request = ++this.request;
    let stream;
    try {
      if (!navigator.mediaDevices) throw new DOMException("insecure", "SecurityError");
      stream = await navigator.mediaDevices.getUserMedia(MICROPHONE);
    } catch (error) {
      if (request === this.request) this.listener.noMicrophone(microphoneReason(error));
      return;
    }
    if (request !== this.request) {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    this.track?.stop();
    [this.track] = stream.getAudioTracks();
    this.track.enabled = !this.muted;
    this.track.onended = () => this.openMicrophone();
    this.epoch?.use(this.track);
    this.listener.microphone();
  }

  closeMicrophone() {
    this.request += 1;
    if (this.track) {
      this.track.onended = null;
      this.track.stop();
    }
    this.track = null;
    this.muted = false;
  }

  // The other side goes on receiving packets, of silence: it must not take this for a broken line.
  mute(muted) {
    this.muted = muted;
    if (this.track) this.track.enabled = !muted;
  }

  start(number, offerer) {
    this.epoch?.close();
    this.epoch = new Epoch(number, offerer, this);
    for (const { epoch, candidate } of this.early.splice(0)) {
      if (epoch === number) this.epoch.add(candidate);
    }
  }

  remote(number, sdp) {
    if (this.epoch?.number === number) this.epoch.take(sdp);
  }

  // Candidates may overtake the offer, and the word that there is a new epoch.
  addCandidate(number, candidate) {
    if (this.epoch?.number === number) this.epoch.add(candidate);
    else if (number > (this.epoch?.number ?? 0) && this.early.length < MAX_EARLY) {
      this.early.push({ epoch: number, candidate });
    }
  }

  stop() {
    this.epoch?.close();
    this.epoch = null;
    this.early = [];
    this.element.srcObject = null;
  }

  async play(stream) {
    this.element.srcObject = stream;
    try {
      await this.element.play();
      this.listener.muffled(false);
    } catch (error) {
      if (error.name === "NotAllowedError") this.listener.muffled(true);
    }
  }

  // 0 to 1: how loud the other side is at this moment.
  get level() {
    const [source] = this.epoch?.receiver?.getSynchronizationSources() ?? [];
    return source?.audioLevel ?? 0;
  }
}

// The life of one peer connection. Whatever goes wrong ends in one `lost`.
class Epoch {
  constructor(number, offerer, media) {
    this.number = number;
    this.media = media;
    this.listener = media.listener;
    this.waiting = [];
    this.described = false;
    this.seen = 0;
    this.heardAt = null;
    this.watchedAt = 0;
    this.turn = 0;
    this.quiet = 0;
    this.state = "waiting";
    this.startedAt = performance.now();
    const pc = new RTCPeerConnection({
      iceServers: media.servers, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require",
      iceCandidatePoolSize: media.servers.length ? 1 : 0,
    });
    this.pc = pc;
    pc.onicecandidate = ({ candidate }) => this.gathered(candidate);
    pc.ontrack = ({ track, receiver }) => this.received(track, receiver);
    pc.onconnectionstatechange = () => { if (pc.connectionState === "failed") this.lose(); };
    if (offerer) this.offer();
    this.timer = setInterval(() => this.watch(), WATCH_MS);
  }

  async offer() {
    const { pc, media } = this;
    await this.attempt(async () => {
      this.sender = pc.addTransceiver(media.track ?? "audio", { direction: "sendrecv" }).sender;
      await pc.setLocalDescription();
      this.describe();
    });
  }

  async take(sdp) {
    const { pc, media } = this;
    await this.attempt(async () => {
      await pc.setRemoteDescription(sdp);
      if (sdp.type === "offer") {
        const [transceiver] = pc.getTransceivers();
        transceiver.direction = "sendrecv";
        this.sender = transceiver.sender;
        if (media.track) await this.sender.replaceTrack(media.track);
        await pc.setLocalDescription();
        this.describe();
      }
      this.described = true;
      for (const candidate of this.waiting.splice(0)) await this.admit(candidate);
    });
  }

  describe() {
    const { type, sdp } = this.pc.localDescription;
    this.listener.described(this.number, { type, sdp });
  }

  gathered(candidate) {
    const found = candidate && {
      candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex,
    };
    // An empty one ends a generation (RFC 8838); the end of all is null.
    if (!found || found.candidate) this.listener.candidate(this.number, found);
  }

  async add(candidate) {
    if (this.described) await this.admit(candidate);
    else if (this.waiting.length < MAX_EARLY) this.waiting.push(candidate);
  }

  // One that cannot be used is no reason to give up the others.
  async admit(candidate) {
    if (candidate && this.state !== "closed") await this.pc.addIceCandidate(candidate).catch(() => {});
  }

  use(track) {
    this.sender?.replaceTrack(track).catch(() => this.lose());
  }

  received(track, receiver) {
    this.receiver = receiver;
    track.onunmute = () => this.hear();
    this.media.play(new MediaStream([track]));
  }

  hear() {
    if (this.state === "closed") return;
    this.heardAt ??= performance.now();
    this.quiet = 0;
    if (this.state !== "up") {
      this.state = "up";
      this.listener.up(this.number);
    }
  }

  // By packets, not by the library's states: those take five seconds to notice, and fifteen to give up.
  async watch() {
    const report = await this.pc.getStats().catch(() => new Map());
    if (this.state === "closed") return;
    const reading = read(report);
    const now = performance.now();
    // After a pause of the whole page, as in a laptop that slept, only the time that was watched counts.
    const since = Math.min(now - (this.watchedAt || now), 4 * WATCH_MS);
    this.watchedAt = now;
    if (reading.packetsReceived && reading.packets > this.seen) this.hear();
    else if (this.heardAt !== null) this.miss(since);
    this.seen = Math.max(this.seen, reading.packets);
    this.turn += 1;
    if (this.turn % TELL_EVERY || !reading.packets) return;
    const connection = this.heardAt === null ? null : this.heardAt - this.startedAt;
    this.listener.measured({ ...reading, epoch: this.number, connectionTime: connection });
  }

  miss(since) {
    this.quiet += since;
    if (this.quiet >= LOST_MS && this.state === "silent") this.lose();
    else if (this.quiet >= SILENT_MS && this.state === "up") {
      this.state = "silent";
      this.listener.silent(this.number);
    }
  }

  // The connection is kept: after a short outage audio is back before a new one could be built.
  lose() {
    if (this.state === "closed" || this.state === "lost") return;
    this.state = "lost";
    this.listener.lost(this.number);
  }

  async attempt(work) {
    try {
      await work();
    } catch {
      this.lose();
    }
  }

  close() {
    this.state = "closed";
    clearInterval(this.timer);
    const { pc } = this;
    pc.onicecandidate = pc.ontrack = pc.onconnectionstatechange = null;
    pc.close();
  }
}
