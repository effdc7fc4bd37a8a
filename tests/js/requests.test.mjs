// publish and history: fates, order, payloads, pages.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Proxy, Server, channel, client, fake, opened, range, until } from "./aid.mjs";

test("published while offline: kept in order, sent later, refused beyond the cap", async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server.port);
  const bus = client(t, proxy.url, { maxQueue: 20, minDelay: 100, random: () => 1 });
  const name = channel();
  await opened(bus);
  proxy.shut = true;
  proxy.cut();
  await until(() => bus.state !== "open", "the loss");
  bus.on("state", ({ state }) => state === "open" && bus.publish(name, "after"));
  const asked = range(25).map((n) => bus.publish(name, n));
  proxy.shut = false;
  const fates = await Promise.allSettled(asked);
  assert.ok(fates.slice(0, 20).every(({ value }) => value.pos));
  assert.ok(fates.slice(20).every(({ reason }) => reason.code === "queue_full"));
  const { messages } = await bus.history(name);
  assert.deepEqual(messages.map(({ data }) => data), [...range(20), "after"]);
});

test("sent, and the line died before the answer: outcome_unknown", async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server.port);
  const bus = client(t, proxy.url);
  const name = channel();
  await opened(bus);
  proxy.deafen();
  const fate = bus.publish(name, 1);
  const late = bus.history(name, { from: "earliest" });
  const other = client(t, server.url);
  const published = async () => (await other.history(name, { from: "earliest" })).messages.length;
  until(published, "it has been published").then(() => proxy.cut());
  await assert.rejects(fate, { name: "WsbusError", code: "outcome_unknown" });
  const { messages } = await late; // reading is repeated
  assert.deepEqual(messages.map(({ data }) => data), [1]);
});

test("close tells the fate of all that is left", async (t) => {
  const server = await fake(t, () => {});
  const bus = client(t, server.url);
  await opened(bus);
  const sent = bus.publish("a", 1);
  bus.close();
  await assert.rejects(sent, { code: "outcome_unknown" });

  const offline = client(t, "ws://127.0.0.1:1/ws");
  const waiting = offline.publish("a", 1);
  const page = offline.history("a");
  const sub = offline.subscribe("a");
  offline.close();
  await assert.rejects(waiting, { code: "closed" });
  await assert.rejects(page, { code: "closed" });
  for await (const message of sub) assert.fail(message);
  assert.deepEqual(offline.errors, []);
});

test("close tells the fate of what the server has put off, at once", async (t) => {
  const server = await fake(t, ({ type, id, channel: name }, say) => {
    if (type === "connected") return;
    const busy = { type: "error", id, channel: name, code: "busy", message: "busy", retry: true };
    say({ ...busy, retry_after: 3600000 });
  });
  const timers = new Set();
  const bus = client(t, server.url, {
    setTimeout(run, ms) {
      const timer = setTimeout(run, ms);
      timers.add(timer);
      return timer;
    },
    clearTimeout(timer) {
      clearTimeout(timer);
      timers.delete(timer);
    },
  });
  await opened(bus);
  const page = bus.history("a");
  const { ready } = bus.subscribe("a", () => {});
  await assert.rejects(bus.publish("a", 1), { code: "busy" });
  bus.close();
  await assert.rejects(page, { code: "closed", close: 1000, message: "closed by the page" });
  await assert.rejects(ready, { code: "unsubscribed" });
  assert.equal(timers.size, 0);
});

test("payloads of every kind, key and headers come as they went", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  const name = channel();
  const got = [];
  await bus.subscribe(name, (data, message) => got.push([data, message])).ready;
  const octets = new Uint8Array([0, 255, 128, 10]);
  await bus.publish(name, { a: [1, "ü", null] }, { key: "k", headers: { h: "v" } });
  await bus.publish(name, octets);
  await bus.publish(name, octets.buffer);
  await bus.publish(name, undefined, { text: "no JSON" });
  await bus.publish(name, null);
  await bus.publish(name, undefined, { tombstone: true });
  await until(() => got.length === 6);
  assert.deepEqual(
    got.map(([data]) => data),
    [{ a: [1, "ü", null] }, octets, octets, "no JSON", null, null],
  );
  assert.equal(got[0][1].key, "k");
  assert.deepEqual(got[0][1].headers, { h: "v" });
  assert.ok(got[0][1].ts > 1.6e12);
  assert.equal(got[5][1].tombstone, true);
  const { messages } = await bus.history(name);
  assert.deepEqual(messages[1].data, octets);
});

test("numbers of 64 bits, with a parser of the page's own", async (t) => {
  const server = await Server.start(t);
  const exact = (text) => JSON.parse(text.replace(/:(\d{16,})\b/g, ':"$1n"'));
  const bus = client(t, server.url, { parse: exact });
  const name = channel();
  await bus.publish(name, undefined, { text: '{"n":9007199254740993}' });
  const { messages } = await bus.history(name);
  assert.equal(messages[0].data.n, "9007199254740993n");
});

test("mistakes reject one request and leave the connection", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  const name = channel();
  const circle = {};
  circle.self = circle;
  await opened(bus);
  await assert.rejects(bus.publish(name), TypeError);
  await assert.rejects(bus.publish(name, circle), TypeError);
  await assert.rejects(bus.publish(name, "x".repeat(70000)), { code: "too_large" });
  await assert.rejects(bus.publish(name, "x".repeat(200000)), { code: "too_large" });
  await assert.rejects(bus.publish(name, "ü".repeat(70000)), { code: "too_large" });
  await assert.rejects(bus.publish("no.such", 1), { code: "unknown_channel", retry: false });
  await assert.rejects(bus.history("a b"), { code: "bad_request" });
  await bus.publish(name, 1);
  assert.equal(bus.states.length, 1);
});

test("history by pages, forwards and backwards, and a subscription that joins", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  const name = channel();
  await Promise.all(range(250).map((n) => bus.publish(name, n)));
  const all = [];
  let page = { more: true };
  let from = "earliest";
  for (; page.more; from = { after: page.cursor }) {
    page = await bus.history(name, { from, limit: 100 });
    all.push(...page.messages.map(({ data }) => data));
  }
  assert.deepEqual(all, range(250));

  const back = [];
  page = await bus.history(name, { from: { last: 40 } });
  while (page.messages.length) {
    back.unshift(...page.messages.map(({ data }) => data));
    page = await bus.history(name, { from: { last: 40 }, until: page.before });
  }
  assert.deepEqual(back, range(250));

  await bus.publish(name, 251);
  await bus.subscribe(name, { from }, (n) => all.push(n)).ready;
  assert.deepEqual(all, range(251));
});

test("errors that may be repeated: subscribe and history are, publish is left to the page", async (t) => {
  const asked = { subscribe: 0, history: 0, publish: 0 };
  const server = await fake(t, ({ type, id, channel: name }, say) => {
    if (!(type in asked)) return;
    const busy = { type: "error", id, channel: name, code: "busy", message: "busy", retry: true };
    if (++asked[type] <= 2) say({ ...busy, retry_after: 20 });
    else if (type === "subscribe") say({ type: "subscribed", id, channel: name, cursor: ["0/a-0"] });
    else say({ type, id, channel: name, messages: [], cursor: [], before: [], more: false });
  });
  const bus = client(t, server.url);
  const begun = Date.now();
  await bus.subscribe("a", () => {}).ready;
  assert.ok(Date.now() - begun >= 38);
  await bus.history("a");
  await assert.rejects(bus.publish("a", 1), { code: "busy", retry: true, retry_after: 20 });
  assert.deepEqual(asked, { subscribe: 3, history: 3, publish: 1 });
});

test("a subscription that the server ends is told and not renewed", async (t) => {
  const server = await fake(t, ({ type, id, channel: name }, say) => {
    if (type !== "subscribe") return;
    say({ type: "subscribed", id, channel: name, cursor: ["0/a-0"] });
    say({ type: "message", channel: name, pos: "0/a-1", ts: 1, data: 1 });
    say({ type: "position", channel: name, cursor: ["0/a-7", "1/b-2"] });
    say({ type: "gap", channel: name, reason: "slow", lost: 3 });
    if (name === "b") say({ type: "unsubscribed", channel: name, reason: "forbidden" });
  });
  const bus = client(t, server.url);
  const stays = bus.subscribe("a", () => {});
  const got = [];
  await assert.rejects(
    async () => {
      for await (const { data } of bus.subscribe("b")) got.push(data);
    },
    { code: "unsubscribed", message: "forbidden" },
  );
  assert.deepEqual(got, [1]);
  assert.deepEqual(stays.cursor, ["0/a-7", "1/b-2"]);
  assert.deepEqual(bus.gaps.map(({ channel: name, reason, lost }) => [name, reason, lost]), [
    ["a", "slow", 3],
    ["b", "slow", 3],
  ]);
});
