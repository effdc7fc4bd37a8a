// Subscriptions: shared ones, late ones, iterators, refusals.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Proxy, Server, WebSocket, channel, client, opened, range, sleep, until } from "./aid.mjs";

/** A WebSocket that keeps what is sent by it. */
function spy() {
  const sent = [];
  class Spy extends WebSocket {
    send(text) {
      sent.push(JSON.parse(text));
      super.send(text);
    }
  }
  return { WebSocket: Spy, sent };
}

const ofType = (sent, type) => sent.filter((frame) => frame.type === type);

test("many subscriptions of a channel are one on the wire", async (t) => {
  const server = await Server.start(t);
  const { WebSocket: Spy, sent } = spy();
  const bus = client(t, server.url, { WebSocket: Spy });
  const name = channel();
  const got = [[], [], []];
  const subs = got.map((list) => bus.subscribe(name, (n) => list.push(n)));
  await Promise.all(subs.map((sub) => sub.ready));
  await bus.publish(name, 1);
  await until(() => got[2].length === 1);
  subs[0].unsubscribe();
  subs[0].unsubscribe();
  await bus.publish(name, 2);
  await until(() => got[2].length === 2);
  assert.deepEqual(got, [[1], [1, 2], [1, 2]]);
  assert.equal(ofType(sent, "unsubscribe").length, 0);
  bus.unsubscribe(name);
  await bus.publish(name, 3);
  await sleep(50);
  assert.deepEqual(got, [[1], [1, 2], [1, 2]]);
  assert.equal(ofType(sent, "subscribe").length, 1);
  assert.equal(ofType(sent, "unsubscribe").length, 1);
});

test("a late joiner gets its own past, then what all get", async (t) => {
  const server = await Server.start(t);
  const publisher = client(t, server.url);
  const bus = client(t, server.url);
  const name = channel();
  await opened(publisher);
  await Promise.all(range(2500).map((n) => publisher.publish(name, n)));
  const live = [];
  await bus.subscribe(name, (n) => live.push(n)).ready;
  let next = 2500;
  const published = [];
  const publishing = setInterval(() => published.push(publisher.publish(name, ++next)), 1);
  t.after(() => clearInterval(publishing));
  const all = [];
  const last = [];
  await Promise.all([
    bus.subscribe(name, { from: "earliest" }, (n) => all.push(n)).ready,
    bus.subscribe(name, { from: { last: 3 } }, (n) => last.push(n)).ready,
  ]);
  await sleep(100);
  clearInterval(publishing);
  await Promise.all(published); // a subscriber may have it before the publisher has its answer
  await until(() => live.at(-1) === next && all.at(-1) === next && last.at(-1) === next);
  assert.deepEqual(all, range(next));
  assert.deepEqual(live, range(next - 2500, 2501));
  assert.deepEqual(last, range(last.length, next - last.length + 1));
  assert.ok(last[0] >= 2498);
});

test("late joiners on a line that is cut miss and double nothing", async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server.port);
  const publisher = client(t, server.url);
  const bus = client(t, proxy.url);
  const name = channel();
  await opened(publisher);
  await Promise.all(range(5000).map((n) => publisher.publish(name, n)));
  await bus.subscribe(name, () => {}).ready;
  let next = 5000;
  const published = [];
  const publishing = setInterval(() => published.push(publisher.publish(name, ++next)), 1);
  const cutting = setInterval(() => proxy.cut(), 25);
  t.after(() => {
    clearInterval(publishing);
    clearInterval(cutting);
  });
  const lists = [];
  for (let i = 0; i < 8; i++) {
    const list = [];
    lists.push(list);
    bus.subscribe(name, { from: "earliest" }, (n) => list.push(n));
    await sleep(20);
  }
  await sleep(300);
  clearInterval(publishing);
  clearInterval(cutting);
  await Promise.all(published);
  await until(() => lists.every((list) => list.at(-1) === next), "all lists complete");
  for (const list of lists) assert.deepEqual(list, range(next));
  assert.deepEqual(bus.gaps, []);
});

test("subscribers of one moment share a replay; one for now waits for its end", async (t) => {
  const server = await Server.start(t);
  const { WebSocket: Spy, sent } = spy();
  const publisher = client(t, server.url);
  const name = channel();
  await Promise.all(range(10).map((n) => publisher.publish(name, n)));
  const bus = client(t, server.url, { WebSocket: Spy });
  const a = [];
  const b = [];
  const now = [];
  const subs = [
    bus.subscribe(name, { from: { last: 4 } }, (n) => a.push(n)),
    bus.subscribe(name, { from: { last: 4 } }, (n) => b.push(n)),
    bus.subscribe(name, (n) => now.push(n)),
  ];
  await Promise.all(subs.map((sub) => sub.ready));
  await publisher.publish(name, 11);
  await until(() => now.length);
  assert.deepEqual(a, range(5, 7));
  assert.deepEqual(b, range(5, 7));
  assert.deepEqual(now, [11]);
  assert.equal(ofType(sent, "history").length, 0);
});

test("a handler that subscribes or throws harms nobody", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  const name = channel();
  const outer = [];
  const inner = [];
  const thrown = [];
  process.setUncaughtExceptionCaptureCallback((error) => thrown.push(error.message));
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  await bus.subscribe(name, (n) => {
    if (n === 1) bus.subscribe(name, (m) => inner.push(m));
    throw new Error(`mistake ${n}`);
  }).ready;
  await bus.subscribe(name, (n) => outer.push(n)).ready;
  await bus.publish(name, 1);
  await bus.publish(name, 2);
  await until(() => outer.length === 2 && inner.length === 1);
  assert.deepEqual(inner, [2]);
  assert.deepEqual(thrown, ["mistake 1", "mistake 2"]);
});

test("unsubscribed and subscribed again in one breath", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  const name = channel();
  await Promise.all(range(500).map((n) => bus.publish(name, n)));
  const first = [];
  const sub = bus.subscribe(name, { from: "earliest" }, (n) => {
    first.push(n);
    if (n === 10) sub.unsubscribe();
  });
  await until(() => first.length === 10);
  const second = [];
  await bus.subscribe(name, { from: "earliest" }, (n) => second.push(n)).ready;
  assert.deepEqual(first, range(10));
  assert.deepEqual(second, range(500));
  assert.deepEqual(bus.errors, []);
});

test("async iterator: order, break, end by unsubscribe", async (t) => {
  const server = await Server.start(t);
  const { WebSocket: Spy, sent } = spy();
  const bus = client(t, server.url, { WebSocket: Spy });
  const name = channel();
  await Promise.all(range(100).map((n) => bus.publish(name, n, { key: "k", headers: { h: "1" } })));
  const got = [];
  for await (const message of bus.subscribe(name, { from: "earliest" })) {
    got.push(message.data);
    assert.equal(message.key, "k");
    assert.deepEqual(message.headers, { h: "1" });
    if (got.length === 100) break;
  }
  assert.deepEqual(got, range(100));
  assert.equal(ofType(sent, "unsubscribe").length, 1);

  const sub = bus.subscribe(name);
  setTimeout(() => sub.unsubscribe(), 50);
  for await (const message of sub) assert.fail(`a message: ${message.data}`);
});

test("an iterator that is not read ends with an error, not with the memory", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url, { maxBuffer: 10 });
  const name = channel();
  await Promise.all(range(50).map((n) => bus.publish(name, n)));
  const sub = bus.subscribe(name, { from: "earliest" });
  await until(() => bus.errors.length);
  const got = [];
  await assert.rejects(
    async () => {
      for await (const message of sub) got.push(message.data);
    },
    { code: "overflow" },
  );
  assert.deepEqual(got, range(10));
});

test("a refusal is told to the subscriber, to `ready` and to the page", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  const told = [];
  const sub = bus.subscribe("nobody.knows", { onError: (error) => told.push(error.code) }, () => {});
  await assert.rejects(sub.ready, { name: "WsbusError", code: "unknown_channel", retry: false });
  assert.deepEqual(told, ["unknown_channel"]);
  assert.equal(bus.errors[0].error.code, "unknown_channel");
  assert.equal(bus.errors[0].channel, "nobody.knows");
  await assert.rejects(async () => {
    for await (const message of bus.subscribe("nobody.knows")) assert.fail(message);
  }, /./);
});

test("one that joins late with a cursor of another log: told to it and to the page", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  const name = channel();
  await Promise.all(range(3).map((n) => bus.publish(name, n)));
  const gaps = { first: [], late: [] };
  await bus.subscribe(name, { onGap: (gap) => gaps.first.push(gap) }, () => {}).ready;
  const got = [];
  const options = { from: { after: ["0/other-7"] }, onGap: (gap) => gaps.late.push(gap) };
  await bus.subscribe(name, options, (n) => got.push(n)).ready;
  assert.deepEqual(got, range(3));
  assert.deepEqual(gaps.first, []);
  const [{ channel: of, reason, recovered, cursor }] = gaps.late;
  assert.deepEqual([of, reason, recovered], [name, "epoch", false]);
  assert.equal(bus.gaps.length, 1);
  assert.equal(bus.gaps[0].reason, "epoch");
  const { messages } = await bus.history(name, { from: { after: cursor } });
  assert.equal(messages.length, 3);
});

test("who asks for a past that may not be read fails alone", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  const name = channel("fleeting");
  const got = [];
  const refused = bus.subscribe(name, { from: "earliest" }, () => {});
  const fine = bus.subscribe(name, (n) => got.push(n));
  await assert.rejects(refused.ready, { code: "forbidden" });
  await fine.ready;
  await assert.rejects(bus.subscribe(name, { from: { last: 1 } }, () => {}).ready, { code: "forbidden" });
  await bus.publish(name, 1);
  await until(() => got.length);
  assert.deepEqual(got, [1]);
});

test("a subscription that was made offline begins when there is a connection", async (t) => {
  const server = await Server.start(t);
  await server.stop();
  const bus = client(t, server.url);
  const got = [];
  const name = channel();
  const sub = bus.subscribe(name, { from: "earliest" }, (n) => got.push(n));
  await until(() => bus.states.some((event) => event.state === "waiting"));
  await server.start();
  await sub.ready;
  await opened(bus);
  await bus.publish(name, 1);
  await until(() => got.length);
});
