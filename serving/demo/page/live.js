// Socket.IO connections (the official client, beside this file) and the pace of re-rendering.

import {io} from "./socket.io.esm.min.js";
import {Problem} from "./api.js";

const ACKNOWLEDGED_WITHIN_MS = 5000;
const HEARTBEAT_MS = 5 * 60_000;  // the service forgets who is silent for half an hour

/** One person's connection; every attempt to connect brings a token that is still good. */
export function connect(person, url) {
  const session = uuid();
  const socket = io(url, {
    forceNew: true,
    transports: ["websocket"],
    auth: async (send) => {
      try {
        send({token: await person.token({fresh: socket.wasRefused}), session_id: session});
      } catch {
        send({});
      }
    },
  });
  socket.on("connect", () => (socket.wasRefused = false));
  // The client tries again by itself when the network fails, not when the service refuses.
  socket.on("connect_error", () => {
    if (socket.active) return;
    socket.wasRefused = true;
    setTimeout(() => socket.disconnected && !socket.ended && socket.connect(), 2000);
  });
  const heartbeat = setInterval(() => socket.connected && socket.emit("presence:heartbeat"),
                                HEARTBEAT_MS);
  socket.end = () => {
    socket.ended = true;
    clearInterval(heartbeat);
    socket.disconnect();
  };
  return socket;
}

/** Send an intent and wait until it is committed. */
export async function intend(socket, kind, roomId) {
  let answer;
  try {
    answer = await socket.timeout(ACKNOWLEDGED_WITHIN_MS)
      .emitWithAck(kind, {event_id: uuid(), room_id: roomId});
  } catch {
    throw new Problem({detail: "The real-time service did not acknowledge that in time."});
  }
  if (!answer.ok) throw new Problem(answer.problem);
}

/** Calls `act` at once, then at most once per `milliseconds`, never twice at a time. */
export function atMostOncePer(milliseconds, act) {
  let waiting = false, running = false, last = -Infinity;
  async function run() {
    waiting = false;
    running = true;
    last = performance.now();
    try {
      await act();
    } finally {
      running = false;
      if (waiting) schedule();
    }
  }
  function schedule() {
    setTimeout(run, Math.max(0, last + milliseconds - performance.now()));
  }
  return () => {
    if (waiting) return;
    waiting = true;
    if (!running) schedule();
  };
}

function uuid() {  // crypto.randomUUID exists on secure origins only
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
