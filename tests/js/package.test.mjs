// The package as it is shipped: module, classic script, size, types beside it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import vm from "node:vm";
import { gzipSync } from "node:zlib";

const folder = mkdtempSync(path.join(tmpdir(), "wsbus-package-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
execFileSync(fileURLToPath(new URL("../../src/web/build", import.meta.url)), [folder]);
const read = (name) => readFileSync(path.join(folder, name), "utf8");

test("the module exports what the types say", async () => {
  const { Wsbus, WsbusError, ...more } = await import(pathToFileURL(path.join(folder, "wsbus.js")));
  assert.deepEqual(Object.keys(more), []);
  assert.equal(Wsbus.Error, WsbusError);
  const types = read("wsbus.d.ts");
  const declared = types.slice(types.indexOf("export class Wsbus extends"));
  const own = Object.getOwnPropertyNames(Wsbus.prototype).filter((name) => name !== "constructor");
  for (const name of own) assert.match(declared, new RegExp(`\\b${name}\\b`));
});

test("the classic script defines Wsbus and nothing else", () => {
  const page = vm.createContext({ EventTarget, Event, URL });
  const before = new Set(Object.keys(page));
  vm.runInContext(read("wsbus.classic.js"), page);
  assert.deepEqual(Object.keys(page).filter((name) => !before.has(name)), ["Wsbus"]);
  assert.equal(vm.runInContext("new Wsbus.Error('busy').code", page), "busy");
  assert.equal(vm.runInContext("let Link = 1; typeof WsbusError", page), "undefined");
});

test("all files of the manifest are there", () => {
  const manifest = JSON.parse(read("package.json"));
  for (const name of manifest.files) assert.ok(read(name).length, name);
});

test("at most 6 KiB compressed", () => {
  for (const name of ["wsbus.js", "wsbus.classic.js"]) {
    const size = gzipSync(read(name), { level: 9 }).length;
    assert.ok(size <= 6 * 1024, `${name}: ${size} bytes`);
  }
});
