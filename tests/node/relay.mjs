// What a hub has to do at least, on Node's Socket.IO server: who is connected, and each event on to whom it names, with
// an acknowledgement. No state, no records, no checks. The peer of `make bench-hub`.
//
//     node relay.mjs PORT [deflate]
import { createServer } from "node:http";
import { Server } from "socket.io";

const [, , port, deflate] = process.argv;
const http = createServer();
const server = new Server(http, {
  transports: ["websocket"], pingInterval: 5000, pingTimeout: 3000, maxHttpBufferSize: 65536,
  perMessageDeflate: deflate === "deflate",
});
const connected = new Map();
const NOTICES = { initiate_call: "incoming_call", reject_call: "call_rejected", webrtc_ice_candidate: "webrtc_ice_candidate" };

server.use((socket, next) => {
  socket.data.id = socket.handshake.auth.token;
  next(socket.data.id ? undefined : new Error("unauthorised"));
});
server.on("connection", (socket) => {
  connected.set(socket.data.id, socket);
  socket.on("disconnect", () => { if (connected.get(socket.data.id) === socket) connected.delete(socket.data.id); });
  for (const [event, notice] of Object.entries(NOTICES)) {
    socket.on(event, (payload, acknowledge) => {
      connected.get(payload.recipientId)?.emit(notice, { ...payload, senderId: socket.data.id });
      acknowledge?.({ ok: true });
    });
  }
});
http.listen(Number(port), "127.0.0.1", () => console.log("ready"));
