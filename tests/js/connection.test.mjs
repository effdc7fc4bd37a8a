// The connection's life: states, pauses, close codes, what wakes it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Wsbus } from "../../src/web/wsbus.js";
import { Proxy, Server, WebSocket, channel, client, fake, opened, range, sleep, until } from "./aid.mjs";

test("states are told, with why", async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server.port);
  const bus = client(t, proxy.url);
  assert.equal(bus.state, "connecting");
  await opened(bus);
  proxy.cut();
  await until(() => bus.states.length >= 4);
  bus.close();
  assert.equal(bus.state, "closed");
  assert.deepEqual(
    bus.states.map((event) => event.state),
    ["open", "waiting", "connecting", "open", "closed"],
  );
  assert.equal(bus.states[1].code, 1006);
  assert.ok(bus.states[1].retryIn <= 10);
  assert.throws(() => bus.subscribe("plain.a", () => {}), { code: "closed" });
  await assert.rejects(bus.publish("plain.a", 1), { code: "closed" });
  await assert.rejects(bus.history("plain.a"), { code: "closed" });
});

for (const code of [1002, 1003, 1007, 1008, 1009, 4500, 4501, 4502, 4599]) {
  test(`${code} is final`, async (t) => {
    const server = await fake(t, (frame, say, socket) => {
      if (frame.type === "publish") socket.close(code, "so be it");
    });
    const bus = client(t, server.url);
    const sub = bus.subscribe("a", () => {});
    const iterator = bus.subscribe("b");
    await assert.rejects(bus.publish("a", 1), { code: "outcome_unknown" });
    await assert.rejects(sub.ready, { code: "closed", close: code, message: "so be it" });
    await assert.rejects(iterator[Symbol.asyncIterator]().next(), { code: "closed" });
    const { state, code: told, reason } = bus.states.at(-1);
    assert.deepEqual([state, told, reason], ["closed", code, "so be it"]);
    await sleep(150);
    assert.equal(server.connections, 1);
  });
}

for (const code of [1000, 1001, 1011, 1012, 4000, 4001, 4002, 4003]) {
  test(`${code} is not`, async (t) => {
    const server = await fake(t, (frame, say, socket, nth) => nth === 1 && socket.close(code));
    const bus = client(t, server.url);
    await until(() => server.connections === 2);
    await opened(bus);
    assert.equal(bus.states.find((event) => event.state === "waiting").code, code);
  });
}

test("the daemon throws out who makes too many mistakes, for good", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  await opened(bus);
  const all = await Promise.allSettled(range(150).map(() => bus.publish("nobody.knows", 1)));
  assert.ok(all.every((one) => one.status === "rejected"));
  await until(() => bus.state === "closed");
  assert.equal(bus.states.at(-1).code, 4501);
});

test("goaway: not before retry_after, whatever wakes us", async (t) => {
  const server = await fake(t, (frame, say, socket, nth) => {
    if (nth > 1) return;
    say({ type: "goaway", reason: "restart", retry_after: 400 });
    socket.close(1012);
  });
  const begun = Date.now();
  const bus = client(t, server.url);
  const waiting = await until(() => bus.states.find(({ state }) => state === "waiting"));
  assert.ok(waiting.retryIn > 300);
  await until(() => server.connections === 2);
  assert.ok(Date.now() - begun >= 395);
});

test("the daemon drains: its goaway is honoured, and nothing is lost when it is back", async (t) => {
  const server = await Server.start(t);
  const bus = client(t, server.url);
  const name = channel();
  const got = [];
  await bus.subscribe(name, { from: "earliest" }, (n) => got.push(n)).ready;
  await bus.publish(name, 1);
  await server.stop("SIGTERM");
  await until(() => bus.states.some((event) => event.state === "waiting"));
  assert.equal(bus.states.find((event) => event.state === "waiting").code, 1012);
  await server.start();
  await bus.publish(name, 2);
  await until(() => got.length === 2);
});

/** Sockets and time that the test moves. */
function puppets() {
  const sockets = [];
  const timers = new Set();
  class Socket {
    sent = [];
    readyState = 0;
    constructor() {
      sockets.push(this);
    }
    say(frame) {
      this.readyState = 1;
      this.onmessage({ data: JSON.stringify(frame) });
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close() {
      this.readyState = 3;
    }
    fail() {
      this.onclose({ code: 1006, reason: "" });
    }
  }
  const clock = { now: 1e6 };
  const options = {
    WebSocket: Socket,
    now: () => clock.now,
    setTimeout(run, ms) {
      const timer = { run, due: clock.now + ms, ms };
      timers.add(timer);
      return timer;
    },
    clearTimeout: (timer) => timers.delete(timer),
  };
  const pass = (ms) => {
    const end = clock.now + ms;
    for (;;) {
      const next = [...timers].filter(({ due }) => due <= end).sort((a, b) => a.due - b.due)[0];
      if (!next) break;
      timers.delete(next);
      clock.now = Math.max(clock.now, next.due);
      next.run();
    }
    clock.now = end;
  };
  /** A laptop sleeps: time goes on, timers come late. */
  const asleep = (ms) => {
    clock.now += ms;
    pass(0);
  };
  return { sockets, timers, clock, options, pass, asleep };
}

const welcome = { type: "welcome", ping: 20000, limits: { frame_bytes: 1000 } };

test("pauses have full jitter, double up to a cap, and start anew after a good connection", () => {
  const { sockets, options, pass } = puppets();
  let random = 0.5;
  const bus = new Wsbus("ws://h/ws", { ...options, random: () => random, minDelay: 100, maxDelay: 1000 });
  const pauses = [];
  bus.on("state", (event) => event.state === "waiting" && pauses.push(event.retryIn));
  for (let i = 0; i < 6; i++) {
    sockets.at(-1).fail();
    pass(1000);
  }
  assert.deepEqual(pauses, [50, 100, 200, 400, 500, 500]);
  sockets.at(-1).say(welcome);
  pass(1000);
  sockets.at(-1).fail(); // too soon to count as good
  assert.equal(pauses.at(-1), 500);
  pass(1000);
  sockets.at(-1).say(welcome);
  pass(15000);
  random = 0.1;
  sockets.at(-1).fail();
  assert.equal(pauses.at(-1), 10);
  bus.close();
});

test("silence is asked about, and sleep", () => {
  const { sockets, options, pass, asleep } = puppets();
  const bus = new Wsbus("ws://h/ws", options);
  const [socket] = sockets;
  socket.say(welcome);
  pass(25000);
  assert.equal(socket.sent.length, 0);
  pass(6000);
  assert.equal(socket.sent.length, 1);
  assert.equal(socket.sent[0].type, "ping");
  socket.say({ type: "pong", id: socket.sent[0].id });
  pass(25000);
  assert.equal(bus.state, "open");
  assert.equal(socket.sent.length, 1);
  socket.say({ type: "x" });

  asleep(3600000);
  assert.equal(socket.sent.length, 2);
  pass(5000);
  assert.notEqual(bus.state, "open");
  assert.equal(socket.readyState, 3);
  bus.close();
});

test("other frames put the verdict off, a dead line gets it", () => {
  const { sockets, options, pass } = puppets();
  const bus = new Wsbus("ws://h/ws", options);
  const [socket] = sockets;
  socket.say(welcome);
  pass(30000);
  assert.equal(socket.sent.length, 1);
  pass(4000);
  socket.say({ type: "x" });
  pass(2000);
  assert.equal(bus.state, "open");
  pass(3000);
  assert.notEqual(bus.state, "open");
  bus.close();
});

test("online, offline, pageshow and a visible tab hasten", (t) => {
  const page = new EventTarget();
  const document = new EventTarget();
  const names = ["addEventListener", "removeEventListener"];
  for (const name of names) globalThis[name] = page[name].bind(page);
  globalThis.document = document;
  t.after(() => {
    for (const name of [...names, "document"]) delete globalThis[name];
  });
  const { sockets, options, timers, pass } = puppets();
  const bus = new Wsbus("ws://h/ws", { ...options, random: () => 1 });
  const happens = (target, type) => target.dispatchEvent(new Event(type));
  const hastens = [[page, "online"], [page, "pageshow"], [document, "visibilitychange"]];
  for (const [target, type] of hastens) {
    sockets.at(-1).fail();
    const n = sockets.length;
    document.visibilityState = "hidden";
    happens(target, type);
    assert.equal(sockets.length, n);
    document.visibilityState = "visible";
    happens(target, type);
    assert.equal(sockets.length, n + 1);
  }
  const socket = sockets.at(-1);
  socket.say(welcome);
  happens(page, "offline");
  happens(page, "offline");
  assert.equal(socket.sent.length, 1);
  pass(5000);
  assert.equal(bus.state, "waiting");
  bus.close();
  const n = sockets.length;
  happens(page, "online");
  assert.equal(sockets.length, n);
  assert.equal(timers.size, 0);
});

test("addresses and what is missing", (t) => {
  const seen = [];
  class Socket {
    constructor(...values) {
      seen.push(values);
    }
    close() {}
  }
  new Wsbus("http://h:1/ws", { WebSocket: Socket }).close();
  new Wsbus("https://h/ws", { WebSocket: Socket }).close();
  globalThis.location = { href: "https://page.example/chat?x#y" };
  t.after(() => delete globalThis.location);
  new Wsbus("/ws", { WebSocket: Socket }).close();
  assert.deepEqual(seen, [
    ["ws://h:1/ws", "wsbus.v1"],
    ["wss://h/ws", "wsbus.v1"],
    ["wss://page.example/ws", "wsbus.v1"],
  ]);
  class Forbidden {
    constructor() {
      throw new Error("not from a secure page");
    }
  }
  const stillborn = new Wsbus("ws://h/ws", { WebSocket: Forbidden });
  assert.equal(stillborn.state, "closed");
  assert.throws(() => stillborn.subscribe("a"), { code: "closed", message: "not from a secure page" });
  assert.throws(() => new Wsbus("http://[", { WebSocket }), TypeError);
  assert.throws(() => new Wsbus("ws://h/", { WebSocket: null }), /options.WebSocket/);
});
