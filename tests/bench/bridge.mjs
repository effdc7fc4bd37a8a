// The bridge that one writes by hand: a Redis connection, a map from channel to sockets, a loop that
// sends. Measured beside wsbus; it has no replay, no limits and no answer to slow readers.
//
//     node bridge.mjs PORT REDIS-PORT         GET /?channels=a,b,…
import Redis from "ioredis";
import { WebSocketServer } from "ws";

const [port, redisPort] = process.argv.slice(2).map(Number);
const redis = new Redis({ port: redisPort, host: "127.0.0.1" });
const members = new Map(); // channel: Set of sockets

const server = new WebSocketServer({ port, host: "127.0.0.1", perMessageDeflate: false, backlog: 4096 });

server.on("connection", (socket, request) => {
  const channels = new URL(request.url, "http://x").searchParams.get("channels").split(",");
  for (const channel of channels) {
    if (!members.has(channel)) {
      members.set(channel, new Set());
      redis.subscribe(channel);
    }
    members.get(channel).add(socket);
  }
  socket.on("close", () => {
    for (const channel of channels) {
      members.get(channel).delete(socket);
      if (members.get(channel).size > 0) continue;
      members.delete(channel);
      redis.unsubscribe(channel);
    }
  });
});

redis.on("message", (channel, message) => {
  for (const socket of members.get(channel) ?? []) socket.send(message);
});
