// The package folder as others use it: packed by npm, installed, imported, type-checked.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Server } from "./aid.mjs";
import { fromNpm } from "./stage.mjs";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "wsbus-shipped-"));
process.on("exit", () => rmSync(folder, { recursive: true }));

/** A project with the package installed. */
const made = path.join(folder, "package");
const project = path.join(folder, "project");
execFileSync(here("../../src/web/build"), [made]);
const npm = (cwd, ...args) =>
  execFileSync("npm", [...args, "--offline", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd,
    encoding: "utf8",
    env: { ...process.env, npm_config_cache: path.join(folder, "cache") },
  });
const [packed] = JSON.parse(npm(folder, "pack", "./package", "--json"));
mkdirSync(project);
writeFileSync(path.join(project, "package.json"), '{ "private": true }');
npm(project, "install", path.join(folder, packed.filename));

const write = (name, text) => writeFileSync(path.join(project, name), text);
const ws = JSON.stringify(fromNpm.resolve("ws"));

test("npm packs what the manifest lists, and nothing else", () => {
  const names = packed.files.map(({ path: name }) => name).sort();
  assert.deepEqual(names, [
    "LICENSE", "README.md", "package.json", "wsbus.classic.js", "wsbus.d.ts", "wsbus.js",
  ]);
});

const talk = `
  const bus = new Wsbus(process.argv[2], { WebSocket: globalThis.WebSocket ?? ws });
  bus.publish("plain.shipped", "hello").then(() =>
    bus.subscribe("plain.shipped", { from: "earliest" }, (data) => {
      console.log(data);
      bus.close();
    }),
  );`;

const programs = {
  "module.mjs": `import { Wsbus } from "wsbus"; import ws from ${ws}; ${talk}`,
  "common.cjs": `const ws = require(${ws}); import("wsbus").then(({ Wsbus }) => { ${talk} });`,
  "classic.mjs": `import "wsbus/classic"; import ws from ${ws}; const { Wsbus } = globalThis; ${talk}`,
};
// From these versions on, require() takes modules.
const [major, minor] = process.versions.node.split(".").map(Number);
if (major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19))
  programs["required.cjs"] = `const { Wsbus } = require("wsbus"); const ws = require(${ws}); ${talk}`;

for (const [name, text] of Object.entries(programs))
  test(`${name} talks to the daemon and ends`, async (t) => {
    const server = await Server.start(t);
    write(name, text);
    const args = ["--no-warnings", name, server.url];
    const done = spawnSync(process.execPath, args, { cwd: project, encoding: "utf8", timeout: 30000 });
    assert.deepEqual([done.stdout, done.stderr, done.status], ["hello\n", "", 0]);
  });

const STRICT = `
import { Wsbus, WsbusError, type Cursor, type From, type Gap, type History, type Message } from "wsbus";

const bus = new Wsbus(new URL("https://h.example/ws"), { maxQueue: 10, random: () => 0.5 });
const begin: From[] = ["now", "earliest", { last: 1 }, { time: 1 }, { ago: 1 }, { after: [] }];
let cursor: Cursor | null = null;
const sub = bus.subscribe<{ bid: number }>("a", { from: begin[0] }, (data, message) => {
  const bid: number = data.bid;
  const same: number = message.data.bid;
  cursor = sub.cursor;
  console.log(bid, same, message.headers?.["h"], message.pos ?? "none");
});
const onGap = (gap: Gap): string => gap.reason;
bus.subscribe("a", { onGap, onError: (error) => console.log(error.retry_after) }, () => {});
const stop: () => void = bus.on("state", ({ state, retryIn }) => {
  if (state === "waiting") console.log(retryIn?.toFixed());
});
bus.on("gap", ({ channel, after, until, lost }) => console.log(channel, after, until, lost));
bus.on("error", ({ error }) => console.log(error instanceof WsbusError && error.code));
export async function all(): Promise<void> {
  await sub.ready;
  for await (const message of bus.subscribe<string>("b")) {
    const typed: Message<string> = message;
    console.log(typed.data.length, typed.ts.toFixed());
  }
  const { pos } = await bus.publish("a", { bid: 1 }, { key: "k", headers: { h: "1" } });
  const page: History<number> = await bus.history<number>("a", { until: cursor ?? [], limit: 3 });
  console.log(pos?.length, page.messages.map(({ data }) => data + 1), page.more);
  stop();
  sub.unsubscribe();
  bus.close();
}

// @ts-expect-error no such place to begin
bus.subscribe("a", { from: "yesterday" }, () => {});
// @ts-expect-error no such event
bus.on("message", () => {});
// @ts-expect-error the state is told, not set
bus.state = "open";
// @ts-expect-error a number is no channel
bus.unsubscribe(1);
`;

test("the types hold under tsc --strict, and so does what the documentation shows", () => {
  const page = readFileSync(here("../../docs/javascript.md"), "utf8");
  const shown = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.ok(shown.length >= 2);
  const sources = [STRICT, ...shown].map((text, i) => {
    write(`types${i}.mts`, text);
    return `types${i}.mts`;
  });
  write("ws.d.ts", 'declare module "ws" { export const WebSocket: unknown; }');
  const tsc = path.join(path.dirname(fromNpm.resolve("typescript/package.json")), "bin/tsc");
  const common = [tsc, "--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom"];
  const kinds = [["nodenext", "nodenext"], ["esnext", "bundler"]];
  for (const [module, resolution] of kinds) {
    const args = ["--module", module, "--moduleResolution", resolution, ...sources, "ws.d.ts"];
    const done = spawnSync(process.execPath, [...common, ...args], { cwd: project, encoding: "utf8" });
    assert.equal(done.stdout, "", resolution);
    assert.equal(done.status, 0);
  }
});
