// The examples for Node and for pages, against the real daemon.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { Server, until } from "./aid.mjs";
import { QUOTES, page, stage } from "./stage.mjs";

const folder = stage();
const example = (name) => path.join(folder, "examples", name);

/** Runs an example; `out` and `err` hold what it has said. */
function program(t, name, ...args) {
  const child = spawn(process.execPath, [example(name), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const said = { child, out: "", err: "", ended: once(child, "exit") };
  child.stdout.on("data", (data) => (said.out += data));
  child.stderr.on("data", (data) => (said.err += data));
  t.after(() => child.kill("SIGKILL"));
  return said;
}

const lines = (text) => text.split("\n").length - 1;
const more = (quotes) => {
  const wanted = lines(quotes.out) + 3;
  return until(() => lines(quotes.out) >= wanted, "three quotes more");
};

test("node_quotes.mjs goes on after a kill", async (t) => {
  const server = await Server.start(t, QUOTES);
  const quotes = program(t, "node_quotes.mjs", server.url, "AAPL");
  await more(quotes);
  assert.match(quotes.out, /^AAPL [\d.]+ [\d.]+\n/);
  await server.stop("SIGKILL");
  await until(() => quotes.err.includes("no connection"));
  await server.start();
  await more(quotes);
  assert.match(quotes.err, /some quotes are gone: epoch/);
  quotes.child.kill("SIGINT");
  assert.deepEqual(await quotes.ended, [0, null]);
});

test("node_quotes.mjs ends where there are no quotes", async (t) => {
  const server = await Server.start(t);
  const quotes = program(t, "node_quotes.mjs", server.url);
  assert.deepEqual(await quotes.ended, [1, null]);
  assert.match(quotes.err, /no more quotes: unknown_channel/);
});

test("three_lines.html shows the price, in three lines", async (t) => {
  const server = await Server.start(t, QUOTES);
  const html = readFileSync(example("three_lines.html"), "utf8");
  const document = page(html, `http://127.0.0.1:${server.port}/three_lines.html`);
  const script = document.querySelector("script[type=module]").textContent;
  assert.equal(script.trim().split("\n").length, 3);
  const url = pathToFileURL(path.join(folder, "src/web/wsbus.js"));
  assert.ok(script.includes('from "/wsbus.js"'));
  const module = `${script.replace("/wsbus.js", url)}; export { bus };`;
  const { bus } = await import(`data:text/javascript,${encodeURIComponent(module)}`);
  t.after(() => bus.close());
  const output = document.querySelector("output");
  const first = await until(() => Number(output.textContent), "a price");
  await until(() => Number(output.textContent) !== first, "another price");
});
