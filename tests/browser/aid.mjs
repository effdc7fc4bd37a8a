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
const DEADLINE = 60000; // of one test

mkdirSync(PICTURES, { recursive: true });

const BROWSERS = {
  chromium: {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Nothing but our own pages is opened, and the sandbox cannot be had in every container.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900"],
  },
  firefox: {
    browser: "firefox",
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    args: ["--width=1280", "--height=900"],
  },
};

const tests = []; // { name, only, run }

/**
 * A test, once in each browser; `run(aid)` is given an Aid. `options.only` names one browser;
 * `options.expect` is a pattern of complaints that belong to the test.
 */
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
        it(one.name, { timeout: DEADLINE }, async (t) => {
          browser ??= await puppeteer.launch({
            headless: true,
            defaultViewport: null,
            ...BROWSERS[kind],
          });
          const aid = new Aid(t, kind, browser, one);
          try {
            await one.run(aid);
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

  constructor(t, kind, browser, { name, expect }) {
    Object.assign(this, { t, kind, browser, name, expect });
  }

  /** The daemon; `again` the one before on its port. */
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
  async page(url, { context, prepare } = {}) {
    context ??= this.contexts[0] ?? (await this.context());
    const page = await context.newPage();
    this.pages.push(page);
    page.said = [];
    page.bad = [];
    this.watch(page);
    await page.evaluateOnNewDocument(() => {
      addEventListener("securitypolicyviolation", (event) => {
        console.error(`CSP ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
      });
    });
    await prepare?.(page);
    if (url) await page.goto(url);
    return page;
  }

  watch(page) {
    const say = (bad, text) => {
      page.said.push(text);
      if (bad && !harmless(text) && !this.expect?.test(text)) page.bad.push(text);
    };
    page.on("console", (told) => say(told.type() === "error", `${told.type()}: ${told.text()}`));
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
      const picture = page.screenshot({ path: path.join(PICTURES, file) }).then(
        () => file,
        (failure) => `no picture: ${failure.message}`,
      );
      words.push(`-- page ${i + 1}, ${page.url()}, ${await within(5000, picture)}`);
      words.push(...page.said.slice(-40));
    }
    for (const server of this.servers) words.push("-- daemon", server.log.slice(-3000));
    return words.join("\n");
  }

  async close() {
    for (const context of this.contexts) await within(5000, context.close().catch(() => {}));
  }
}

function within(ms, promise) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, ms, "too late")));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits until `look(...values)`, run in the page, returns something true, and returns that. */
export async function seen(page, what, look, ...values) {
  let last;
  const sees = async () => (last = await page.evaluate(look, ...values));
  try {
    return await until(sees, what, 20000, 25);
  } catch (error) {
    throw new Error(`${error.message}; seen last: ${JSON.stringify(last)}`, { cause: error });
  }
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
