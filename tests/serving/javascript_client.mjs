// What an app does with the official client, which lies beside this file; says it as one JSON object.
// The argument: {url, token, friend_token, room_id}.

import {io} from "./socket.io.mjs";

const {url, token, friend_token: friendToken, room_id: roomId} = JSON.parse(process.argv[2]);
const uuid = () => crypto.randomUUID();
const connection = (auth) => io(url, {auth, forceNew: true, transports: ["websocket"],
                                      reconnection: false});
const once = (socket, event) => new Promise((resolve) => socket.once(event, resolve));
const intend = (socket, kind, roomId) =>
  socket.timeout(5000).emitWithAck(kind, {event_id: uuid(), room_id: roomId});

const said = {};
const stranger = connection({token: "forged", session_id: uuid()});
const refusal = await once(stranger, "connect_error");
said.refused = {message: refusal.message, data: refusal.data};

const listener = connection({token, session_id: uuid()});
await once(listener, "connect");
said.transport = listener.io.engine.transport.name;

const friend = connection({token: friendToken, session_id: uuid()});
await once(friend, "connect");
const told = once(listener, "presence");
const toasted = once(listener, "toast");
said.joined = await intend(friend, "presence:join", roomId);
said.presence = await told;
said.toast = await toasted;
said.nowhere = await intend(friend, "presence:join", uuid());
said.left = await intend(friend, "presence:leave", roomId);
process.stdout.write(JSON.stringify(said));
process.exit(0);
