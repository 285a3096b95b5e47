// What the browser's statistics say (W3C webrtc-stats), and what that is worth to an ear (ITU-T G.107).

const FRAME_S = 0.02;
const RATE_HZ = 48000;
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
    bufferTarget: inbound?.jitterBufferTargetDelay ?? 0,
    late: inbound?.packetsDiscarded ?? 0,
    stretched: (inbound?.insertedSamplesForDeceleration ?? 0) + (inbound?.removedSamplesForAcceleration ?? 0),
    gaps: inbound?.concealmentEvents ?? 0,
    concealed: Math.max(0, (inbound?.concealedSamples ?? 0) - (inbound?.silentConcealedSamples ?? 0)),
    samples: inbound?.totalSamplesReceived ?? 0,
  };
}

const COUNTERS = [
  "packetsReceived", "packetsLost", "bufferDelay", "bufferEmitted", "bufferTarget", "late", "stretched", "gaps",
  "concealed", "samples",
];

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
    const emitted = total("bufferEmitted");
    const known = {
      connectionTime: this.connectionTime === null ? null : this.connectionTime / 1000,
      audioPacketsLost: total("packetsLost"),
      audioPacketsReceived: total("packetsReceived"),
      jitter: last.jitter,
      roundTripTime: last.roundTrip,
      callDuration: seconds,
      concealedRatio: total("samples") ? Math.min(1, total("concealed") / total("samples")) : null,
      bufferDelay: emitted ? total("bufferDelay") / emitted : null,
      bufferTarget: emitted ? total("bufferTarget") / emitted : null,
      playedFrames: Math.max(0, total("samples") - total("concealed")),
      concealedFrames: total("concealed"),
      concealments: total("gaps"),
      stretchedFrames: total("stretched"),
      latePackets: total("late"),
      ...this.heard(total),
    };
    return Object.fromEntries(Object.entries(known).filter(([, value]) => value !== null));
  }

  // What the whole call is worth so far; `live` tells of the last seconds.
  heard(total) {
    const emitted = total("bufferEmitted");
    if (!emitted || !total("samples") || this.last.roundTrip === null) return { mouthToEar: null, mos: null };
    const loss = missing(total);
    const mouthToEar = delay(this.last, total("bufferDelay") / emitted);
    return { mouthToEar, mos: mos(mouthToEar, loss, burstRatio(total("concealed"), total("gaps"), loss)) };
  }
}

// Between two readings. `latency` is an estimate from mouth to ear, for one direction. Lost packets count beside what
// was concealed: a browser fades a long gap to silence, and counts that together with the sender's own pauses. Stations
// can tell these apart, and take what was missing alone.
function judged(before, now, live) {
  const since = (name) => now[name] - before[name];
  const expected = since("packetsReceived") + since("packetsLost");
  if (expected <= 0 || since("samples") <= 0) return null;
  const buffer = since("bufferEmitted") > 0 ? since("bufferDelay") / since("bufferEmitted") : live?.buffer ?? 0;
  const lost = missing(since);
  const latency = delay(now, buffer);
  const loss = live ? live.loss + (lost - live.loss) * (lost > live.loss ? 0.5 : 0.1) : lost;
  const burst = burstRatio(since("concealed"), since("gaps"), loss);
  return {
    latency, loss, buffer, jitter: now.jitter ?? 0, roundTrip: now.roundTrip ?? 0, mos: mos(latency, loss, burst),
  };
}

function missing(count) {
  const expected = count("packetsReceived") + count("packetsLost");
  const lost = expected > 0 ? count("packetsLost") / expected : 0;
  const concealed = count("samples") > 0 ? count("concealed") / count("samples") : 0;
  return Math.min(1, Math.max(0, lost, concealed));
}

function delay(reading, buffer) {
  return (reading.roundTrip ?? 0) / 2 + buffer + FRAME_S + DEVICES_S;
}

// How much longer than of random loss the gaps are (G.107's BurstR), within 1 and 2. As intercomd/media/emodel.py.
export function burstRatio(concealed, gaps, loss) {
  if (gaps <= 0) return 1;
  const packets = Math.max(1, concealed / gaps / (FRAME_S * RATE_HZ));
  return Math.min(2, Math.max(1, packets * (1 - loss)));
}

// The E-model (G.107, its Idd and Ie,eff, MOS by Annex B), the same as the stations' (intercomd/media/emodel.py, which
// says why): R = 93.2 - Id - Ie,eff, with Ie 0 and Bpl 15.
export function mos(latency, loss, burst = 1) {
  const r = 93.2 - delayImpairment(latency) - (9500 * loss) / ((100 * loss) / burst + 15);
  if (r <= 0) return 1;
  return Math.max(1, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6);
}

function delayImpairment(latency) {
  if (latency <= 0.1) return 0;
  const x = Math.log2(latency / 0.1);
  return 25 * ((1 + x ** 6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2);
}
