// The page of streaming quotes.
import assert from "node:assert/strict";

import { Proxy, client, until } from "../js/aid.mjs";
import { demo, each, seen, showed, shows, tabTo } from "./aid.mjs";

const USUAL = ["EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "BTCUSD", "AAPL"];

const row = (symbol) => `#quotes tr[data-symbol="${symbol}"]`;
const home = (server) => `http://127.0.0.1:${server.port}/`;
const bid = (page, symbol) =>
  page.evaluate((at) => document.querySelector(at)?.textContent, `${row(symbol)} .bid`);
const symbols = (page) =>
  page.$$eval("#quotes tr[data-symbol]", (all) => all.map((one) => one.dataset.symbol));

/** Waits until every one of these has a price. */
const priced = (page, names) =>
  seen(
    page,
    `prices of ${names}`,
    (all) => all.every((at) => /\d/.test(document.querySelector(at)?.textContent)),
    names.map((name) => `${row(name)} .bid`),
  );

/** Waits until a price becomes another. */
async function moves(page, symbol = "EURUSD") {
  await priced(page, [symbol]);
  const before = await bid(page, symbol);
  await until(async () => (await bid(page, symbol)) !== before, `${symbol} moves`, 15000, 25);
}

const add = async (page, symbol) => {
  await page.type("#symbol", symbol);
  await page.click("#add button");
};

/** The points of the chart. */
const points = (page) =>
  page.evaluate(async () => {
    const { series } = await import("/demo/quotes.js");
    return typeof series === "function" ? series() : series;
  });

/** All that the log still has of a channel. */
async function log(bus, channel) {
  const messages = [];
  for (let from = "earliest", more = true; more; ) {
    const page = await bus.history(channel, { from, limit: 1000 });
    messages.push(...page.messages);
    [from, more] = [{ after: page.cursor }, page.more];
  }
  return messages;
}

/** The chart is one stretch of the log: no hole, nothing twice, nothing out of order. */
async function wholeChart(aid, server, page, symbol) {
  const drawn = await points(page);
  const messages = await log(client(aid.t, server.url), `quotes.${symbol}`);
  const at = messages.findIndex(({ pos }) => pos === drawn[0].pos);
  assert.ok(at >= 0, `the chart begins with ${JSON.stringify(drawn[0])}`);
  const wanted = messages.slice(at, at + drawn.length);
  assert.deepEqual(
    drawn.map(({ pos, bid, ask }) => [pos, bid, ask]),
    wanted.map(({ pos, data }) => [pos, data.bid, data.ask]),
  );
  return drawn;
}

/** Waits until the chart has `n` points more than now. */
async function grows(page, n) {
  const newest = async () => (await points(page)).at(-1)?.pos;
  for (let i = 0; i < n; i++) {
    const before = await newest();
    await until(async () => (await newest()) !== before, "the chart grows", 15000, 25);
  }
}

each("where the past may not be read, prices begin with the next one", async (aid) => {
  const config = demo(2000);
  const channels = [
    { match: "quotes.{symbol}", bus: "m", topic: "quotes", key: "{symbol}", history: false },
  ];
  const page = await aid.page(home(await aid.server({ ...config, channels })));
  await moves(page);
  await until(async () => (await points(page)).length > 10, "the chart grows");
  assert.equal(await page.$eval("#add-error", (at) => at.textContent), "");
});

each("the usual symbols have prices, and they move", async (aid) => {
  const page = await aid.page(home(await aid.server(demo())));
  await shows(page, "open");
  await priced(page, USUAL);
  assert.deepEqual(await symbols(page), USUAL);
  await moves(page);
  await seen(page, "messages a second", () => parseFloat(rate.textContent) > 0);
  await seen(page, "milliseconds", () => /\d/.test(latency.textContent));
});

each("who joins has the last price at once", async (aid) => {
  const server = await aid.server(demo(0));
  const quote = { symbol: "EURUSD", bid: 1.08431, ask: 1.08445, last: 1.08438, time: Date.now() };
  await client(aid.t, server.url).publish("quotes.EURUSD", quote, { key: "EURUSD" });
  const page = await aid.page(home(server));
  await priced(page, ["EURUSD"]);
  assert.match(await bid(page, "EURUSD"), /1.0843/);
});

each("a symbol is added and removed", async (aid) => {
  const page = await aid.page(home(await aid.server(demo())));
  await priced(page, ["EURUSD"]);
  const known = await page.$$eval("datalist option", (all) => all.map((one) => one.value));
  const symbol = known.find((name) => !USUAL.includes(name));
  await add(page, symbol);
  await moves(page, symbol);
  await page.click(`${row(symbol)} .remove`);
  await seen(page, "no row", (at) => !document.querySelector(at), row(symbol));
  await seen(
    page,
    "the end of the subscription",
    (channel) =>
      overheard.sent.map((text) => JSON.parse(text)).some(
        (frame) => frame.type === "unsubscribe" && frame.channel === channel,
      ),
    `quotes.${symbol}`,
  );
  assert.deepEqual(await symbols(page), USUAL);
});

each("the chosen symbols are there again", async (aid) => {
  const server = await aid.server(demo());
  const page = await aid.page(home(server));
  await priced(page, USUAL);
  await add(page, "MSFT");
  await page.click(`${row("GBPUSD")} .remove`);
  await priced(page, ["MSFT"]);
  const chosen = await symbols(page);
  const next = await aid.page(home(server));
  await priced(next, ["MSFT"]);
  assert.deepEqual(await symbols(next), chosen);
  const other = await aid.page(home(server), { context: await aid.context() });
  await priced(other, USUAL);
  assert.deepEqual(await symbols(other), USUAL);
});

each("the chart shows another symbol", async (aid) => {
  const server = await aid.server(demo());
  const page = await aid.page(home(server));
  await priced(page, USUAL);
  await page.click(`${row("USDJPY")} .chart`);
  await seen(page, "its chart", () => chart.dataset.symbol === "USDJPY" && +chart.dataset.points);
  await grows(page, 3);
  await wholeChart(aid, server, page, "USDJPY");
});

each("the daemon is killed and started again: prices go on", async (aid) => {
  const server = await aid.server(demo());
  const page = await aid.page(home(server));
  await moves(page);
  await server.stop("SIGKILL");
  await shows(page, "waiting");
  await server.start();
  await showed(page, "open", "waiting", "open");
  await moves(page);
  // The new log is another one: what is missing is told and not hidden.
  await seen(page, "a gap", () => +chart.dataset.gaps > 0);
});

each("the network is cut: said, mended, and the chart has no hole", async (aid) => {
  const server = await aid.server(demo(800));
  const proxy = await Proxy.start(aid.t, server.port);
  const page = await aid.page(proxy.url.replace("ws:", "http:").replace("/ws", "/"));
  await moves(page);
  const shown = await page.evaluate(() => chart.dataset.symbol);
  await grows(page, 2);
  proxy.shut = true;
  proxy.cut();
  await shows(page, "waiting");
  // What is missed meanwhile is more than a moment's.
  const bus = client(aid.t, server.url);
  let missed = 0;
  bus.subscribe(`quotes.${shown}`, () => missed++);
  await until(() => missed > 20, "quotes that the page misses");
  proxy.shut = false;
  await showed(page, "open", "waiting", "open");
  await grows(page, 3);
  proxy.cut();
  await showed(page, "open", "waiting", "open", "waiting", "open");
  await grows(page, 3);
  const drawn = await wholeChart(aid, server, page, shown);
  assert.ok(drawn.length > 20, `${drawn.length} points`);
  assert.equal(await page.evaluate(() => chart.dataset.gaps), "0");
});

each("a line that has gone silent is noticed", async (aid) => {
  const server = await aid.server({ ...demo(), limits: { ping_ms: 1000 } });
  const proxy = await Proxy.start(aid.t, server.port);
  const page = await aid.page(proxy.url.replace("ws:", "http:").replace("/ws", "/"));
  await moves(page);
  proxy.deafen();
  await showed(page, "open", "waiting", "open");
  await moves(page);
});

each("offline and online again", async (aid) => {
  const page = await aid.page(home(await aid.server(demo())));
  await moves(page);
  await aid.offline(page, true);
  await aid.offline(page, false);
  await shows(page, "open");
  await moves(page);
});

each("a tab in the background goes on", async (aid) => {
  const server = await aid.server(demo());
  const page = await aid.page(home(server));
  await moves(page);
  const shown = await page.evaluate(() => chart.dataset.symbol);
  await (await aid.page("about:blank")).bringToFront();
  await grows(page, 5);
  await page.bringToFront();
  await moves(page);
  await wholeChart(aid, server, page, shown);
});

each("by keyboard alone", async (aid) => {
  const page = await aid.page(home(await aid.server(demo())));
  await priced(page, USUAL);
  await tabTo(page, "#symbol");
  await page.keyboard.type("MSFT");
  await page.keyboard.press("Enter");
  await priced(page, ["MSFT"]);
  await tabTo(page, `${row("AAPL")} .chart`);
  await page.keyboard.press("Enter");
  await seen(page, "its chart", () => chart.dataset.symbol === "AAPL");
  await tabTo(page, `${row("GBPUSD")} .remove`);
  await page.keyboard.press("Enter");
  await seen(page, "no row", (at) => !document.querySelector(at), row("GBPUSD"));
  // The focus is not lost with the row.
  assert.notEqual(await page.evaluate(() => document.activeElement.localName), "body");
});
