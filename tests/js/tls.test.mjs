// wsbus.js under Node over TLS, with the package ws, which is told whom to trust.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";

import { Wsbus } from "../../src/web/wsbus.js";
import { MODULES, Server, certified, channel, client, opened, range, until } from "./aid.mjs";

const WebSocket = createRequire(path.join(MODULES, "x.js"))("ws");

/** One that trusts this authority, and no other. */
const trusting = (ca) =>
  class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { ca });
    }
  };

test("publishes, follows and resumes over TLS", async (t) => {
  const { cert, listen } = certified(t);
  const server = await Server.start(t, { listen });
  const url = `wss://localhost:${server.port}/ws`;
  const bus = client(t, url, { WebSocket: trusting(readFileSync(cert)) });
  await opened(bus);
  const name = channel();
  const got = [];
  await bus.subscribe(name, (data) => got.push(data)).ready;
  for (const n of range(20)) await bus.publish(name, n);
  await bus.publish(name, "x".repeat(60000));
  await until(() => got.length === 21);
  assert.deepEqual(got.slice(0, 20), range(20));
  assert.equal(got[20].length, 60000);
});

test("a certificate that nobody vouches for is not believed", async (t) => {
  const { listen } = certified(t);
  const server = await Server.start(t, { listen });
  const bus = new Wsbus(`wss://localhost:${server.port}/ws`, { WebSocket, minDelay: 10, maxDelay: 50 });
  t.after(() => bus.close());
  const states = [];
  bus.on("state", ({ state }) => states.push(state));
  await until(() => states.filter((state) => state === "waiting").length > 2);
  assert.ok(!states.includes("open"));
});
