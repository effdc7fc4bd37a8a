// The two browsers, pages that are watched, and a small site of another origin.
//
// CHROMIUM, FIREFOX  the executables (default: Debian's)
//
// Each file starts each browser once; every test has a context of its own in it (its own storage)
// and closes it. A test fails if a page has complained: an exception, an error in the console, a
// violation of its Content-Security-Policy, a dialog, a request to another host. When it fails, it
// says what the pages and the daemon have said, and build/screenshots/failed-… shows the pages.
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { MODULES, Server, until } from "../js/aid.mjs";

export const TOP = fileURLToPath(new URL("../../", import.meta.url));
export const PICTURES = path.join(TOP, "build/screenshots");
export const required = createRequire(path.join(MODULES, "x.js"));
const puppeteer = required("puppeteer-core");
const DEADLINE = 60000; // of one test, without the start of the browser and the words at its end

mkdirSync(PICTURES, { recursive: true });

const BROWSERS = {
  chromium: {
    headless: true,
    acceptInsecureCerts: true, // of the daemon's, which are made for a test
    defaultViewport: null,
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Nothing but our own pages is opened, and the sandbox cannot be had in every container.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900"],
  },
  firefox: {
    browser: "firefox",
    headless: true,
    acceptInsecureCerts: true,
    // Firefox 140 cannot do all that its driver asks for when it sets one.
    defaultViewport: null,
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    args: ["--width=1280", "--height=900"],
  },
};

const tests = []; // { name, only, run }

/** A test, once in each browser, or in `options.only`; `run(aid)` is given an Aid. */
export function each(name, options, run) {
  tests.push(run ? { name, run, ...options } : { name, run: options });
  if (tests.length === 1) queueMicrotask(register);
}

function register() {
  for (const kind of Object.keys(BROWSERS)) {
    describe(kind, () => {
      let browser;
      after(() => browser?.close());
      for (const one of tests.filter(({ only = kind }) => only === kind)) {
        it(one.name, { timeout: 2 * DEADLINE }, async (t) => {
          if (!browser?.connected) browser = await puppeteer.launch(BROWSERS[kind]);
          const aid = new Aid(t, kind, browser, one.name);
          try {
            await inTime(DEADLINE, one.run(aid));
            aid.verdict();
          } catch (error) {
            const told = new Error(await aid.evidence(error));
            told.stack = `${told.message}\n${error.stack}`;
            throw told;
          } finally {
            await aid.close();
          }
        });
      }
    });
  }
}

// What a browser itself says of a connection that ends, or of one that it did not get.
const NETWORK = /WebSocket connection to|ERR_(CONNECTION|INTERNET|NETWORK)|establish a connection/;

// Of Firefox 140's driver itself, in a page that goes away.
const DRIVER = /^exception: Error: Error: Permission denied to access property "\w+"$/;
const harmless = (text) => NETWORK.test(text) || DRIVER.test(text);

/** What a test works with. */
class Aid {
  contexts = [];
  pages = [];
  servers = [];

  constructor(t, kind, browser, name) {
    Object.assign(this, { t, kind, browser, name });
  }

  /** The daemon. */
  async server(changes) {
    const server = await Server.start(this.t, changes);
    this.servers.push(server);
    return server;
  }

  /** A storage of its own, like another person's browser. */
  async context() {
    const context = await this.browser.createBrowserContext();
    this.contexts.push(context);
    return context;
  }

  /** A page; its `said` is what the console and the browser had to tell, `bad` what must not be. */
  async page(url, { context = this.contexts[0] } = {}) {
    context ??= await this.context();
    const page = await context.newPage();
    this.pages.push(page);
    page.said = [];
    page.bad = [];
    this.watch(page);
    await page.evaluateOnNewDocument(overhear);
    if (url) await page.goto(url);
    return page;
  }

  watch(page) {
    const say = (bad, text) => {
      page.said.push(text);
      if (bad && !harmless(text)) page.bad.push(text);
    };
    page.on("console", (told) => {
      const { url = "" } = told.location();
      // A page without an icon is asked for one all the same.
      const bad = told.type() === "error" && !url.endsWith("/favicon.ico");
      say(bad, `${told.type()}: ${told.text()} ${url}`);
    });
    page.on("pageerror", (error) => say(true, `exception: ${error.stack ?? error}`));
    page.on("dialog", (dialog) => {
      say(true, `dialog: ${dialog.message()}`);
      dialog.dismiss().catch(() => {});
    });
    page.on("request", (request) => {
      const { protocol, hostname } = new URL(request.url());
      const near = !protocol.startsWith("http") || /^(127\.0\.0\.1|localhost)$/.test(hostname);
      if (!near) say(true, `request to ${request.url()}`);
    });
  }

  /** Firefox before 147 cannot be cut off by its driver: its page is only told so. */
  async offline(page, yes) {
    try {
      await page.setOfflineMode(yes);
    } catch (error) {
      if (!/unknown command|unsupported/i.test(error.message)) throw error;
      await page.evaluate((type) => dispatchEvent(new Event(type)), yes ? "offline" : "online");
    }
  }

  verdict() {
    const bad = this.pages.flatMap((page) => page.bad);
    if (bad.length) throw new Error("a page complains");
  }

  async evidence(error) {
    const words = [error.message];
    for (const [i, page] of this.pages.entries()) {
      const file = `failed-${this.kind}-${this.name.replace(/\W+/g, "-")}-${i + 1}.png`;
      const picture = inTime(5000, page.screenshot({ path: path.join(PICTURES, file) })).then(
        () => file,
        (failure) => `no picture: ${failure.message}`,
      );
      words.push(`-- page ${i + 1}, ${page.url()}, ${await picture}`);
      words.push(...page.said.slice(-40));
    }
    for (const server of this.servers) words.push("-- daemon", server.log.slice(-3000));
    return words.join("\n");
  }

  async close() {
    for (const context of this.contexts) await inTime(5000, context.close()).catch(() => {});
  }
}

/** Runs in the page, before all else: `overheard` has the frames sent and the states shown. */
function overhear() {
  addEventListener("securitypolicyviolation", (event) => {
    console.error(`CSP ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
  });
  window.overheard = { sent: [], states: [] };
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (text) {
    overheard.sent.push(text);
    return send.call(this, text);
  };
  const look = (changes) => {
    for (const { target } of changes) {
      if (target.id === "connection") overheard.states.push(target.dataset.state);
    }
  };
  const attributes = { subtree: true, attributes: true, attributeFilter: ["data-state"] };
  new MutationObserver(look).observe(document, attributes);
}

async function inTime(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits until `look(...values)`, run in the page, returns something true, and returns that. An
 * element is not something that can be returned.
 */
export async function seen(page, what, look, ...values) {
  let last;
  const sees = async () => (last = await page.evaluate(look, ...values));
  try {
    return await until(sees, what, 20000, 25);
  } catch (error) {
    throw new Error(`${error.message}; seen last: ${JSON.stringify(last)}`, { cause: error });
  }
}

/** For a daemon with both pages, and with prices if `quotes` (updates a second) is not 0. */
export const demo = (quotes = 200) => ({
  web: { demo: true },
  buses: { m: { type: "memory", history: 20000, quotes } },
  channels: [
    { match: "quotes.{symbol}", bus: "m", topic: "quotes", key: "{symbol}" },
    { match: "**", bus: "m" },
  ],
});

/** Waits for the state that a demo page shows. */
export const shows = (page, state) =>
  seen(page, `state ${state}`, (state) => connection.dataset.state === state, state);

/** Waits until a demo page has shown the states in this order, whatever was between them. */
export const showed = (page, ...states) =>
  seen(
    page,
    `states ${states}`,
    (states) => {
      let at = -1;
      return states.every((state) => (at = overheard.states.indexOf(state, at + 1)) >= 0);
    },
    states,
  );

/** Presses Tab, or Shift and Tab where the way is back, until `selector` has the focus. */
export async function tabTo(page, selector) {
  const way = (selector) => {
    const at = document.activeElement;
    if (at.matches(selector)) return "there";
    // Not round by the end: from there Firefox goes on to its own buttons.
    const order = at.compareDocumentPosition(document.querySelector(selector));
    return order & Node.DOCUMENT_POSITION_PRECEDING ? "back" : "on";
  };
  for (let i = 0; i < 100; i++) {
    const next = await page.evaluate(way, selector);
    if (next === "there") return;
    if (next === "back") await page.keyboard.down("Shift");
    await page.keyboard.press("Tab");
    if (next === "back") await page.keyboard.up("Shift");
  }
  throw new Error(`no way to ${selector} by keyboard`);
}

const folder = mkdtempSync(path.join(tmpdir(), "wsbus-browser-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
execFileSync(path.join(TOP, "src/web/build"), [folder]);
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8" };

/** A site that is not the daemon's: wsbus.js in both forms, and the pages that are given. */
export async function site(t, pages, headers = {}) {
  const server = http.createServer((request, response) => {
    const name = request.url.slice(1) || "index.html";
    const shipped = /^wsbus(\.classic)?\.js$/.test(name);
    const text = pages[name] ?? (shipped && readFileSync(path.join(folder, name)));
    // A missing icon would be a complaint.
    if (!text) return response.writeHead(name === "favicon.ico" ? 204 : 404, headers).end();
    response.writeHead(200, { "Content-Type": TYPES[path.extname(name)], ...headers }).end(text);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}
