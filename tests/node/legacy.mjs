// A client that speaks only the legacy vocabulary: Socket.IO events without acknowledgements, no epochs, no resync, and
// `initiate_call` twice per dial. It plays back what it hears, so that whoever calls it hears himself.
//
//     node legacy.mjs URL      auth token and orders as JSON lines on stdin, what happens as JSON lines on stdout
//
// Orders: {do: "connect", token} · {do: "dial", callId, recipientId} · {do: "answer"} · {do: "reject"} · {do: "hang up"}
//         · {do: "emit", event, payload}
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } from "werift";

const EVENTS = [
  "incoming_call", "call_initiated", "call_accepted", "call_rejected", "call_cancelled", "call_ended", "call_failed",
  "webrtc_offer", "webrtc_answer", "webrtc_ice_candidate", "error", "pong",
];
const MIME = "audio/opus";

let socket, peer, call;
const say = (event, payload = {}) => process.stdout.write(JSON.stringify({ event, payload }) + "\n");

function connect({ token }) {
  // Its own options: WebSocket first, many quick attempts.
  socket = io(process.argv[2], {
    auth: { token }, transports: ["websocket", "polling"], reconnectionAttempts: 35, reconnectionDelay: 100,
    reconnectionDelayMax: 1000, randomizationFactor: 0.1, timeout: 10000,
  });
  socket.on("connect", () => { say("connect"); socket.emit("get_offline_messages"); });
  socket.on("connect_error", (error) => say("connect_error", { message: error.message, data: error.data ?? null }));
  socket.on("disconnect", (reason) => say("disconnect", { reason }));
  for (const event of EVENTS) socket.on(event, (payload) => { say(event, payload); react[event]?.(payload); });
  // Whatever a hub of today says besides is not for it, and must not disturb it.
  socket.onAny((event) => { if (!EVENTS.includes(event)) say("unknown", { event }); });
}

async function prepare() {
  const opus = new RTCRtpCodecParameters({ mimeType: MIME, clockRate: 48000, channels: 2, payloadType: 111 });
  peer = new RTCPeerConnection({ codecs: { audio: [opus] }, iceServers: [] });
  const voice = new MediaStreamTrack({ kind: "audio" });
  peer.addTransceiver(voice, { direction: "sendrecv" });
  let heard = 0;
  peer.onTrack.subscribe((track) => track.onReceiveRtp.subscribe((packet) => {
    voice.writeRtp(packet);
    heard += 1;
    if (heard === 50) say("heard", { packets: heard });
  }));
  peer.connectionStateChange.subscribe((state) => say("connection", { state }));
  peer.onIceCandidate.subscribe((candidate) => {
    if (candidate) socket.emit("webrtc_ice_candidate", { callId: call.id, recipientId: call.peer, candidate: candidate.toJSON() });
  });
}

async function offer() {
  await peer.setLocalDescription(await peer.createOffer());
  const { type, sdp } = peer.localDescription;
  socket.emit("webrtc_offer", { callId: call.id, recipientId: call.peer, sdp: { type, sdp } });
}

const react = {
  incoming_call: ({ callId, callerId, conversationId }) => { call = { id: callId, peer: callerId, conversationId }; },
  call_accepted: () => offer(),
  webrtc_offer: async ({ callId, sdp }) => {
    await peer.setRemoteDescription(sdp);
    await peer.setLocalDescription(await peer.createAnswer());
    const local = peer.localDescription;
    socket.emit("webrtc_answer", { callId, recipientId: call.peer, sdp: { type: local.type, sdp: local.sdp } });
  },
  webrtc_answer: ({ sdp }) => peer.setRemoteDescription(sdp),
  // Not before the description: as the application does.
  webrtc_ice_candidate: ({ candidate }) => { if (candidate && peer?.remoteDescription) peer.addIceCandidate(candidate); },
  call_ended: () => leave(),
  call_cancelled: () => leave(),
  call_rejected: () => leave(),
};

async function leave() {
  const gone = peer;
  peer = undefined;
  await gone?.close();
}

const orders = {
  connect,
  async dial({ callId, recipientId }) {
    call = { id: callId, peer: recipientId, conversationId: "conversation" };
    const request = { callerId: "somebody else", recipientId, callId, conversationId: call.conversationId };
    socket.emit("initiate_call", request);
    await prepare();
    socket.emit("initiate_call", request);
  },
  async answer() {
    await prepare();
    socket.emit("accept_call", { callId: call.id, recipientId: call.peer });
  },
  reject() {
    socket.emit("reject_call", { callId: call.id, recipientId: call.peer, conversationId: call.conversationId });
  },
  async "hang up"() {
    const { id, peer: recipientId, conversationId } = call;
    socket.emit("end_call", { callId: id, recipientId, duration: 86400, conversationId });
    await leave();
  },
  emit({ event, payload }) { socket.emit(event, payload); },
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  orders[order.do](order);
}).on("close", () => process.exit(0));
