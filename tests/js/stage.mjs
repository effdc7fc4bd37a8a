// Copies of examples/ and src/web/ beside the modules of npm, which they import by name.
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { WebSocket } from "./aid.mjs";

const TOP = fileURLToPath(new URL("../../", import.meta.url));
const MODULES = path.resolve(process.env.WSBUS_TEST_MODULES ?? path.join(TOP, "build/node"));

export const fromNpm = createRequire(path.join(MODULES, "x.js"));

/** A folder with `examples` and `src/web` inside, gone when this process ends. */
export function stage() {
  const folder = mkdtempSync(path.join(MODULES, "stage-"));
  process.on("exit", () => rmSync(folder, { recursive: true }));
  mkdirSync(path.join(folder, "src"));
  for (const part of ["examples", "src/web"])
    cpSync(path.join(TOP, part), path.join(folder, part), {
      recursive: true,
      filter: (name) => !name.includes("node_modules"),
    });
  return folder;
}

/** Gives this process, to its end, the globals of a page. Returns the document. */
export function page(html, url) {
  const { JSDOM } = fromNpm("jsdom");
  const { window } = new JSDOM(html, { url });
  const { document, navigator } = window;
  const names = { window, document, navigator, location: { href: url }, WebSocket };
  for (const [name, value] of Object.entries(names))
    Object.defineProperty(globalThis, name, { value, configurable: true });
  return document;
}

/** A daemon as the embedded configuration makes it, with more quotes. */
export const QUOTES = {
  buses: { m: { type: "memory", quotes: 400 } },
  channels: [
    { match: "quotes.{symbol}", bus: "m", topic: "quotes", key: "{symbol}", publish: false },
    { match: "**", bus: "m" },
  ],
};
