// What docs/javascript.md shows does run: each block of JavaScript, against the real daemon.
import assert from "node:assert/strict";
import { webcrypto as crypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Wsbus } from "../../src/web/wsbus.js";
import { Server, WebSocket, client, until } from "./aid.mjs";
import { QUOTES } from "./stage.mjs";

const read = (name) => readFileSync(new URL(`../../${name}`, import.meta.url), "utf8");
const page = read("docs/javascript.md");
const blocks = [...page.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);
const AsyncFunction = (async () => {}).constructor;

const PAST = {
  "chat.lobby": [{ text: "a" }, { text: "b" }, { text: "c" }, { text: "bye" }],
  "orders.new": [{ n: 1 }],
  "prices.all": [{ symbol: "ACME", bid: 1 }],
};

/** What a block finds around it, and what it shows. */
function surroundings(t, server) {
  const shown = [];
  const all = [];
  class Here extends Wsbus {
    constructor(url, options) {
      super(new URL(url, server.url), { WebSocket, ...options });
      all.push(this);
    }
  }
  t.after(() => all.forEach((bus) => bus.close()));
  const kept = new Map();
  const localStorage = {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => kept.set(name, String(value)),
  };
  const show = (...values) => shown.push(values);
  return { shown, names: { Wsbus: Here, show, localStorage, crypto, bus: new Here("/ws") } };
}

test("every block of the page runs and shows something", async (t) => {
  assert.ok(blocks.length >= 12, "the page has blocks");
  const server = await Server.start(t, QUOTES);
  const publisher = client(t, server.url);
  for (const [channel, messages] of Object.entries(PAST))
    for (const data of messages) await publisher.publish(channel, data);
  for (const code of blocks)
    await t.test(code.split("\n", 1)[0], async (t) => {
      const { shown, names } = surroundings(t, server);
      const run = new AsyncFunction(...Object.keys(names), `{\n${code}\n}`);
      await run(...Object.values(names));
      await until(() => shown.length, "something to be shown");
    });
});

test("the README of the package: its programs are well formed", () => {
  for (const [, code] of read("src/web/README.md").matchAll(/^```js\n(.*?)^```$/gms))
    new AsyncFunction("Wsbus", "bus", `{\n${code.replace(/^import .*$/gm, "")}\n}`);
});

test("links inside the page lead somewhere", () => {
  const slug = (title) => title.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-");
  const titles = new Set([...page.matchAll(/^#+ (.*)$/gm)].map(([, title]) => slug(title)));
  for (const [, name] of page.matchAll(/\]\(#([^)]*)\)/g)) assert.ok(titles.has(name), name);
  for (const [, name] of page.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) read(`docs/${name}`);
});
