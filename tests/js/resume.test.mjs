// Connections end, messages do not.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Proxy, Server, channel, client, opened, range, sleep, steadily, until } from "./aid.mjs";

test("a proxy that cuts every 300 ms: no hole, no duplicate", async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server.port);
  const publisher = client(t, server.url);
  const reader = client(t, proxy.url);
  const name = channel();
  const got = [];
  await reader.subscribe(name, { from: "earliest" }, (n) => got.push(n)).ready;

  const cutting = setInterval(() => proxy.cut(), 300);
  t.after(() => clearInterval(cutting));
  const total = 3000;
  for (let n = 1; n <= total; n++) {
    publisher.publish(name, n).catch((error) => assert.fail(error));
    if (n % 10 === 0) await sleep(10);
  }
  clearInterval(cutting);
  await until(() => got.length >= total, "all messages");
  await sleep(50);
  assert.deepEqual(got, range(total));
  assert.ok(proxy.accepted > 5, `only ${proxy.accepted} connections`);
  assert.deepEqual(reader.gaps, []);
  assert.deepEqual(reader.errors, []);
});

test("a slow line and a half-closed one: resumed all the same", async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server.port);
  const publisher = client(t, server.url);
  const reader = client(t, proxy.url);
  const name = channel();
  const got = [];
  proxy.delay = 40;
  await reader.subscribe(name, (n) => got.push(n)).ready;
  for (const n of range(50)) {
    await publisher.publish(name, n);
    await sleep(10);
    if (n % 20 === 0) proxy.halfClose();
  }
  await until(() => got.length >= 50, "all messages");
  assert.deepEqual(got, range(50));
  assert.ok(proxy.accepted >= 3);
});

test("a line that has gone silent is noticed and given up", async (t) => {
  const server = await Server.start(t, { limits: { ping_ms: 200 } });
  const proxy = await Proxy.start(t, server.port);
  const publisher = client(t, server.url);
  const reader = client(t, proxy.url, { pongTimeout: 200 });
  const name = channel();
  const got = [];
  await reader.subscribe(name, (n) => got.push(n)).ready;
  proxy.deafen();
  await publisher.publish(name, 1);
  await until(() => got.length === 1, "the message that was lost on the way");
  const lost = reader.states.find((event) => event.state === "waiting");
  assert.equal(lost.code, 4001);
  assert.equal(lost.reason, "no answer");
});

test("a quiet but sound line stays", async (t) => {
  const server = await Server.start(t, { limits: { ping_ms: 100 } });
  await steadily(t, server.url, 100, async () => {
    const proxy = await Proxy.start(t, server.port);
    const bus = client(t, proxy.url, { pongTimeout: 300 });
    try {
      await opened(bus);
      await sleep(1000);
      assert.equal(proxy.accepted, 1);
    } finally {
      bus.close();
    }
  });
});

test("no welcome: given up, tried again", async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server.port);
  proxy.deaf = true;
  const bus = client(t, proxy.url, { timeout: 150 });
  await until(() => proxy.accepted >= 2, "a second attempt");
  proxy.deaf = false;
  await opened(bus);
});

test("the daemon restarts: the new log is told by a gap, and read from its beginning", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  const name = channel();
  const got = [];
  const gaps = [];
  const onGap = (gap) => gaps.push(gap);
  const sub = bus.subscribe(name, { from: "earliest", onGap }, (n) => got.push(n));
  await bus.publish(name, 1);
  await until(() => got.length === 1, "the first message");
  const [before] = sub.cursor;

  await server.stop("SIGKILL");
  await until(() => bus.state === "waiting", "the loss");
  await server.start();
  await bus.publish(name, 2);
  await until(() => got.length === 2, "the message of the new log");
  assert.deepEqual(got, [1, 2]);
  assert.equal(bus.gaps.length, 1);
  assert.equal(bus.gaps[0].channel, name);
  assert.equal(bus.gaps[0].reason, "epoch");
  assert.equal(bus.gaps[0].recovered, false);
  assert.equal(gaps.length, 1);
  assert.notEqual(sub.cursor[0].split("-")[0], before.split("-")[0]);
});

test("a log that has been trimmed meanwhile: told, goes on with the oldest", async (t) => {
  const server = await Server.start(t, { replay: { ring_messages: 1 }, linger: 0 });
  const proxy = await Proxy.start(t, server.port);
  const publisher = client(t, server.url);
  const reader = client(t, proxy.url);
  const name = channel("small");
  const got = [];
  await reader.subscribe(name, (n) => got.push(n)).ready;
  proxy.shut = true;
  proxy.cut();
  await until(() => reader.state !== "open");
  await Promise.all(range(20).map((n) => publisher.publish(name, n)));
  proxy.shut = false;
  await until(() => got.at(-1) === 20, "the newest");
  assert.deepEqual(got, range(5, 16));
  assert.equal(reader.gaps[0].reason, "expired");
});

test("a channel without a past: a lost connection is a gap", async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server.port);
  const bus = client(t, proxy.url);
  const name = channel("fleeting");
  const sub = bus.subscribe(name, () => {});
  await sub.ready;
  assert.equal(sub.cursor, null);
  proxy.cut();
  const gap = await until(() => bus.gaps[0], "a gap");
  assert.equal(gap.reason, "disconnected");
});

test("a cursor kept by the page goes on in the next page", async (t) => {
  const server = await Server.start(t);
  const name = channel();
  const first = client(t, server.url);
  const got = [];
  const sub = first.subscribe(name, { from: "earliest" }, (n) => got.push(n));
  await Promise.all(range(5).map((n) => first.publish(name, n)));
  await until(() => got.length === 5);
  const { cursor } = sub;
  first.close();
  const second = client(t, server.url);
  await Promise.all(range(5, 6).map((n) => second.publish(name, n)));
  await second.subscribe(name, { from: { after: cursor } }, (n) => got.push(n)).ready;
  assert.deepEqual(got, range(10));
  assert.deepEqual(second.gaps, []);
});
