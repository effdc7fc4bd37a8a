// Both pages as people see them: judged for accessibility, and kept as pictures.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";

import { client, until } from "../js/aid.mjs";
import { PICTURES, demo, each, required, seen, shows } from "./aid.mjs";

const AXE = readFileSync(required.resolve("axe-core/axe.min.js"), "utf8");
const SIZES = { desktop: [1280, 800], telephone: [390, 844] };
const TALK = [
  ["Ada", "Good morning! Did the new version go out last night?"],
  [
    "Grace",
    "It did, at 02:10. Nobody noticed: the pages lost the connection, came back by themselves " +
      "and went on where they were.",
  ],
  ["Ada", "Not one message twice?"],
  ["Grace", "Not one, and none missing."],
  [
    "Linus",
    "What about <b>markup</b> and words like Donaudampfschifffahrtsgesellschaftskapitänsmütze, " +
      "or https://example.com/a/path/that/does/not/end/anywhere/on/a/small/screen?",
  ],
  ["Grace", "Text stays text.\nAnd lines stay lines."],
];

const pages = {
  async quotes(aid, server, size) {
    const page = await open(aid, `http://127.0.0.1:${server.port}/`, size);
    await seen(page, "a chart", () => +chart.dataset.points >= 60);
    await seen(page, "messages a second", () => parseFloat(rate.textContent) > 0);
    const bid = () => document.querySelector("#quotes [data-symbol=EURUSD] .bid").textContent;
    const before = await page.evaluate(bid);
    await until(async () => (await page.evaluate(bid)) !== before, "prices move", 15000, 25);
    return page;
  },
  async chat(aid, server, size) {
    const page = await open(aid, `http://127.0.0.1:${server.port}/chat`, size);
    await page.$eval("#name", (input) => (input.value = ""));
    await page.type("#name", "Linus");
    await page.keyboard.press("Tab");
    await page.type("#text", "See you all at noon.");
    await page.keyboard.press("Enter");
    await seen(page, "the talk", () => {
      const all = document.querySelectorAll("#messages li[data-id]:not(.pending)");
      return all[all.length - 1]?.textContent.includes("noon");
    });
    return page;
  },
};

async function open(aid, url, [width, height]) {
  const page = await aid.page(null, { context: await aid.context() });
  if (aid.kind === "chromium") {
    const small = width < 600;
    await page.setViewport({ width, height, hasTouch: small, isMobile: small });
  }
  await page.goto(url);
  await shows(page, "open");
  return page;
}

async function setting(aid) {
  const server = await aid.server(demo(1000));
  const bus = client(aid.t, server.url);
  for (const [n, [name, text]] of TALK.entries()) {
    await bus.publish("chat.lobby", { id: `talk-${n}`, name, text });
  }
  return server;
}

/** Rules that are broken so badly that somebody cannot use the page. */
async function judge(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run());
  const bad = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const where = (nodes) => nodes.map(({ target }) => target.join(" "));
  return bad.map(({ id, help, nodes }) => ({ id, help, where: where(nodes) }));
}

const sticksOut = (page) =>
  page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return scrollWidth - clientWidth;
  });

for (const name of Object.keys(pages)) {
  for (const [device, size] of Object.entries(SIZES)) {
    each(`${name} on a ${device}, light and dark`, { only: "chromium" }, async (aid) => {
      const page = await pages[name](aid, await setting(aid), size);
      for (const scheme of ["light", "dark"]) {
        await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
        const file = path.join(PICTURES, `${name}-${device}-${scheme}.png`);
        await page.screenshot({ path: file });
        assert.deepEqual(await judge(page), [], scheme);
      }
      assert.equal(await sticksOut(page), 0);
    });
  }
  each(`${name} in Firefox`, { only: "firefox" }, async (aid) => {
    const page = await pages[name](aid, await setting(aid), SIZES.desktop);
    await page.screenshot({ path: path.join(PICTURES, `${name}-firefox.png`) });
    assert.equal(await sticksOut(page), 0);
  });
}
