// wsbus.js in a page of another origin, which the configuration names.
import assert from "node:assert/strict";

import { Proxy, channel, client, range } from "../js/aid.mjs";
import { each, seen, site } from "./aid.mjs";

const PAGE = `<!doctype html><html lang="en"><title>test</title>
<script type="module" src="/page.js"></script><output id="out"></output></html>`;
const SCRIPT = `import { Wsbus } from "/wsbus.js";
window.got = [];
window.states = [];
window.gaps = [];
window.begin = (url, options) => {
  window.bus = new Wsbus(url, { minDelay: 10, maxDelay: 200, ...options });
  bus.on("state", ({ state }) => states.push(state));
  bus.on("gap", ({ reason }) => gaps.push(reason));
};
window.follow = (channel, from) =>
  bus.subscribe(channel, { from }, (data, { pos }) => got.push({ data, pos })).ready;`;
const CSP = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; img-src 'self'; connect-src ws:",
};

/** A daemon that lets the page's origin in, and the page. */
async function setting(aid) {
  const origin = await site(aid.t, { "index.html": PAGE, "page.js": SCRIPT }, CSP);
  const server = await aid.server({ access: access(origin) });
  const page = await aid.page(origin);
  await seen(page, "the module runs", () => Boolean(window.begin));
  return { origin, server, page };
}

const access = (...origins) => ({
  origins,
  anonymous: { subscribe: ["**"], publish: ["**"] },
});
const begin = (page, url, options) => page.evaluate((...all) => begin(...all), url, options);
const follow = (page, name, from) => page.evaluate((...all) => follow(...all), name, from);
const has = (page, n) => seen(page, `${n} messages`, (n) => got.length >= n && got, n);
const numbers = (got) => got.map(({ data }) => data);
const is = (page, state) => seen(page, `state ${state}`, (state) => bus.state === state, state);

each("subscribes, publishes and reads the past", async (aid) => {
  const { server, page } = await setting(aid);
  const name = channel();
  await begin(page, server.url);
  await follow(page, name, "now");
  const bus = client(aid.t, server.url);
  await bus.publish(name, 1);
  await page.evaluate((name) => bus.publish(name, { "<": "ü💱" }), name);
  assert.deepEqual(numbers(await has(page, 2)), [1, { "<": "ü💱" }]);
  const past = await page.evaluate((name) => bus.history(name), name);
  assert.deepEqual(past.messages.map(({ data }) => data), [1, { "<": "ü💱" }]);
});

const CLASSIC = {
  "index.html": `<!doctype html><html lang="en"><title>test</title><output id="out"></output>
<script src="/wsbus.classic.js"></script><script src="/page.js"></script></html>`,
  "page.js": `const out = document.getElementById("out");
const show = (data) => (out.textContent = data);
new Wsbus(location.hash.slice(1)).subscribe("plain.classic", { from: { last: 1 } }, show);`,
};

each("the classic script in a page", async (aid) => {
  const origin = await site(aid.t, CLASSIC, CSP);
  const server = await aid.server({ access: access(origin) });
  const bus = client(aid.t, server.url);
  const page = await aid.page(`${origin}/#${server.url}`);
  await bus.publish("plain.classic", "1.08431");
  await seen(page, "the price", () => document.getElementById("out").textContent === "1.08431");
});

each("the network is cut while both sides publish: nothing lost, nothing twice", async (aid) => {
  const { server, page } = await setting(aid);
  const proxy = await Proxy.start(aid.t, server.port);
  const name = channel();
  await begin(page, proxy.url);
  await follow(page, name, "now");
  const bus = client(aid.t, server.url);
  for (const n of range(60)) {
    await bus.publish(name, n);
    if (n % 20 === 0) proxy.cut();
  }
  assert.deepEqual(numbers(await has(page, 60)), range(60));
  const { states, gaps } = await page.evaluate(() => ({ states, gaps }));
  assert.deepEqual(gaps, []);
  assert.ok(states.filter((state) => state === "waiting").length >= 1, states.join());
});

each("the daemon is killed and started again: the page goes on", async (aid) => {
  const { server, page } = await setting(aid);
  const name = channel();
  await begin(page, server.url);
  await follow(page, name, "earliest");
  await client(aid.t, server.url).publish(name, 1);
  await has(page, 1);
  await server.stop("SIGKILL");
  await seen(page, "it waits", () => states.includes("waiting"));
  await server.start();
  await is(page, "open");
  await client(aid.t, server.url).publish(name, 2);
  assert.deepEqual(numbers(await has(page, 2)), [1, 2]);
  // A memory bus forgets with its process, and says so.
  assert.deepEqual(await page.evaluate(() => gaps), ["epoch"]);
});

each("a line that is dead without a word is noticed", async (aid) => {
  const { server, page } = await setting(aid);
  const proxy = await Proxy.start(aid.t, server.port);
  const name = channel();
  await begin(page, proxy.url, { pongTimeout: 200 });
  await follow(page, name, "now");
  proxy.deafen();
  await client(aid.t, server.url).publish(name, 1);
  await page.evaluate(() => dispatchEvent(new Event("online"))); // a doubt, so it asks
  assert.deepEqual(numbers(await has(page, 1)), [1]);
  assert.ok(proxy.accepted >= 2);
});

each("the browser goes offline and comes back", async (aid) => {
  const { server, page } = await setting(aid);
  const name = channel();
  await begin(page, server.url, { pongTimeout: 200 });
  await follow(page, name, "now");
  const bus = client(aid.t, server.url);
  await bus.publish(name, 1);
  await has(page, 1);
  await page.evaluate(() => {
    window.network = [];
    for (const type of ["online", "offline"]) addEventListener(type, () => network.push(type));
  });
  await aid.offline(page, true);
  await seen(page, "offline", () => network.includes("offline"));
  await bus.publish(name, 2);
  await aid.offline(page, false);
  await seen(page, "online", () => network.includes("online"));
  await bus.publish(name, 3);
  assert.deepEqual(numbers(await has(page, 3)), [1, 2, 3]);
});

each("a tab in the background goes on", async (aid) => {
  const { server, page } = await setting(aid);
  const name = channel();
  await begin(page, server.url);
  await follow(page, name, "now");
  const front = await aid.page("about:blank");
  await front.bringToFront();
  const bus = client(aid.t, server.url);
  for (const n of range(50)) await bus.publish(name, n);
  await has(page, 50);
  await server.stop("SIGTERM");
  await server.start();
  await is(page, "open");
  await client(aid.t, server.url).publish(name, 51);
  assert.deepEqual(numbers(await has(page, 51)), range(51));
});

/** What becomes of a WebSocket that the page opens. */
const knock = (page, url) =>
  page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url, "wsbus.v1");
        socket.onopen = () => resolve("open");
        socket.onerror = () => resolve("refused");
      }),
    url,
  );

each("a foreign origin is refused, one that is named is let in", async (aid) => {
  const pages = { "index.html": PAGE, "page.js": SCRIPT };
  const [named, foreign] = [await site(aid.t, pages, CSP), await site(aid.t, pages, CSP)];
  const server = await aid.server({ access: access(named) });
  assert.equal(await knock(await aid.page(named), server.url), "open");
  assert.equal(await knock(await aid.page(foreign), server.url), "refused");
  const strict = await aid.server();
  assert.equal(await knock(await aid.page(named), strict.url), "refused");
  // wsbus.js cannot know why, and goes on asking politely.
  const page = await aid.page(foreign);
  await seen(page, "the module runs", () => Boolean(window.begin));
  await begin(page, server.url);
  await seen(page, "it waits", () => states.includes("waiting"));
  assert.ok(!(await page.evaluate(() => states.includes("open"))));
});
