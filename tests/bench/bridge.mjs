// The bridge that one writes by hand: a connection to the bus, a map from channel to sockets, a loop that
// sends. Measured beside wsbus; it has no replay, no limits and no answer to slow readers.
//
//     node bridge.mjs '{"port":8080,"redis":6379}'     or "kafka":"127.0.0.1:9092","topic":"t"
//                                                      and "cert", "key", "deflate" where they are wanted
//
// GET /?channels=a,b,… subscribes. On Kafka a channel is a key of the topic. What a socket sends is a publish
// with an id, and is answered when Redis has it.
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import Redis from "ioredis";
import { Kafka, logLevel } from "kafkajs";
import { WebSocketServer } from "ws";

const options = JSON.parse(process.argv[2]);
const members = new Map(); // channel: Set of sockets
const connect = () => new Redis({ port: options.redis, host: "127.0.0.1", lazyConnect: true });
const redis = options.redis && connect();
const publisher = options.redis && connect();

const web = options.cert
  ? https.createServer({ cert: readFileSync(options.cert), key: readFileSync(options.key) })
  : http.createServer();
const server = new WebSocketServer({
  server: web,
  perMessageDeflate: options.deflate ? { threshold: 0 } : false,
});

server.on("connection", (socket, request) => {
  const list = new URL(request.url, "http://x").searchParams.get("channels");
  const channels = list ? list.split(",") : [];
  for (const channel of channels) {
    if (!members.has(channel)) {
      members.set(channel, new Set());
      redis?.subscribe(channel);
    }
    members.get(channel).add(socket);
  }
  socket.on("message", async (frame) => {
    const { id, channel, data } = JSON.parse(frame);
    await publisher.publish(channel, JSON.stringify(data));
    socket.send(JSON.stringify({ type: "published", id }));
  });
  socket.on("close", () => {
    for (const channel of channels) {
      members.get(channel).delete(socket);
      if (members.get(channel).size > 0) continue;
      members.delete(channel);
      redis?.unsubscribe(channel);
    }
  });
});

const deliver = (channel, message) => {
  for (const socket of members.get(channel) ?? []) socket.send(message);
};

redis?.on("message", deliver);
// A subscribe that overtakes ioredis's own question at the beginning ends the process.
await Promise.all([redis?.connect(), publisher?.connect()]);
if (options.kafka) {
  const kafka = new Kafka({ brokers: [options.kafka], logLevel: logLevel.ERROR });
  const consumer = kafka.consumer({ groupId: `bridge-${process.pid}` });
  await consumer.connect();
  await consumer.subscribe({ topics: [options.topic] });
  const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
  await consumer.run({
    eachMessage: async ({ message }) => deliver(`b.${message.key}`, message.value.toString()),
  });
  await joined;
}
web.listen({ port: options.port, host: "127.0.0.1", backlog: 4096 });
