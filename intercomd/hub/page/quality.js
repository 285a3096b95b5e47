// What the browser's statistics say (W3C webrtc-stats), and what that is worth to an ear (ITU-T G.107).

const FRAME_S = 0.02;
// Opus looks 6.5 ms ahead; the device plays what it was given some 30 ms later.
const DEVICES_S = 0.0365;

// One reading of a report: counters since the connection began, and what holds at this moment. Seconds.
export function read(report) {
  const found = { pair: null, inbound: null, remote: null, transport: null };
  for (const entry of report.values()) {
    if (entry.type === "inbound-rtp" && entry.kind === "audio") found.inbound = entry;
    if (entry.type === "remote-inbound-rtp" && entry.kind === "audio") found.remote = entry;
    if (entry.type === "transport") found.transport = entry;
    if (entry.type === "candidate-pair" && entry.nominated) found.pair = entry;
  }
  const { inbound, transport } = found;
  return {
    packets: transport?.packetsReceived ?? inbound?.packetsReceived ?? 0,
    packetsReceived: inbound?.packetsReceived ?? 0,
    packetsLost: inbound?.packetsLost ?? 0,
    jitter: inbound?.jitter ?? null,
    roundTrip: found.pair?.currentRoundTripTime ?? found.remote?.roundTripTime ?? null,
    bufferDelay: inbound?.jitterBufferDelay ?? 0,
    bufferEmitted: inbound?.jitterBufferEmittedCount ?? 0,
    concealed: Math.max(0, (inbound?.concealedSamples ?? 0) - (inbound?.silentConcealedSamples ?? 0)),
    samples: inbound?.totalSamplesReceived ?? 0,
  };
}

const COUNTERS = ["packetsReceived", "packetsLost", "bufferDelay", "bufferEmitted", "concealed", "samples"];

// Of a whole call: the counters of earlier epochs are added to those of the present one.
export class Meter {
  constructor() {
    this.earlier = Object.fromEntries(COUNTERS.map((name) => [name, 0]));
    this.last = null;
    this.before = null;
    this.connectionTime = null;
    this.live = null;
  }

  take(reading) {
    if (this.last && this.last.epoch !== reading.epoch) {
      for (const name of COUNTERS) this.earlier[name] += this.last[name];
      this.before = null;
    }
    this.last = reading;
    this.connectionTime ??= reading.connectionTime;
    if (this.before) this.live = judged(this.before, reading, this.live) ?? this.live;
    this.before = reading;
  }

  // For the hub: the names and units of its protocol.
  metrics(seconds) {
    const { last } = this;
    if (!last) return null;
    const total = (name) => this.earlier[name] + last[name];
    const known = {
      connectionTime: this.connectionTime === null ? null : this.connectionTime / 1000,
      audioPacketsLost: total("packetsLost"),
      audioPacketsReceived: total("packetsReceived"),
      jitter: last.jitter,
      roundTripTime: last.roundTrip,
      callDuration: seconds,
      concealedRatio: total("samples") ? Math.min(1, total("concealed") / total("samples")) : null,
      bufferDelay: total("bufferEmitted") ? total("bufferDelay") / total("bufferEmitted") : null,
    };
    return Object.fromEntries(Object.entries(known).filter(([, value]) => value !== null));
  }
}

// Between two readings. `latency` is an estimate from mouth to ear, for one direction.
function judged(before, now, live) {
  const since = (name) => now[name] - before[name];
  const expected = since("packetsReceived") + since("packetsLost");
  if (expected <= 0 || since("samples") <= 0) return null;
  const buffer = since("bufferEmitted") > 0 ? since("bufferDelay") / since("bufferEmitted") : live?.buffer ?? 0;
  const lost = Math.min(1, Math.max(0, since("packetsLost") / expected, since("concealed") / since("samples")));
  const latency = (now.roundTrip ?? 0) / 2 + buffer + FRAME_S + DEVICES_S;
  const loss = live ? live.loss + (lost - live.loss) * (lost > live.loss ? 0.5 : 0.1) : lost;
  return { latency, loss, buffer, jitter: now.jitter ?? 0, roundTrip: now.roundTrip ?? 0, mos: mos(latency, loss) };
}

// The E-model reduced to delay and loss: R = 93.2 - Id - Ie,eff, and its MOS (G.107 Annex B). Bpl 15: Opus conceals
// and corrects better than G.711 without concealment (4.3), worse than G.711 with it in random loss (25.1).
export function mos(latency, loss) {
  const ms = latency * 1000;
  const delay = 0.024 * ms + (ms > 177.3 ? 0.11 * (ms - 177.3) : 0);
  const percent = loss * 100;
  const r = 93.2 - delay - (95 * percent) / (percent + 15);
  if (r <= 0) return 1;
  return Math.min(4.5, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6);
}
