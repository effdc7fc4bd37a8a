// Streaming quotes: a table of symbols, each a channel of its own, and a chart of one of them.
import { Wsbus } from "/wsbus.js";
import { Chart } from "/demo/chart.js";
import { showConnection } from "/demo/connection.js";
import { decimalsOf, hasNoPast, isQuote, lastOf, timeOf } from "/demo/quote.js";
import { recall, remember } from "/demo/storage.js";

const KNOWN = (
  "EURUSD GBPUSD USDJPY USDCHF AUDUSD USDCAD NZDUSD EURGBP EURJPY EURCHF XAUUSD XAGUSD " +
  "BTCUSD ETHUSD SPX500 DAX40 AAPL MSFT NVDA AMZN SAP ASML SIE WTI"
).split(" ");
const FIRST = ["EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "BTCUSD", "AAPL"];

const find = (selector) => document.querySelector(selector);
const bus = new Wsbus("/ws");
const chart = new Chart(bus, find("#chart"));
const rows = new Map(); // symbol: Row
const due = new Set(); // rows to be drawn in the next frame
let received = 0;

/** The points of the chart, in order. */
export const series = chart.points;

/** A symbol: its row of the table, its subscription, its newest quote. */
class Row {
  quote = null;
  drawn = null; // the quote that the row shows
  base = null; // what `change` is against
  decimals = 0;

  constructor(symbol) {
    this.symbol = symbol;
    this.element = find("#row").content.firstElementChild.cloneNode(true);
    this.element.dataset.symbol = symbol;
    this.cell(".chart").textContent = symbol;
    this.cell(".chart").title = `Show ${symbol} in the chart`;
    this.cell(".remove").setAttribute("aria-label", `Remove ${symbol}`);
    this.cell(".remove").addEventListener("click", (event) => {
      event.stopPropagation();
      remove(this);
      keep();
    });
    this.element.addEventListener("click", () => select(this));
    this.channel = `quotes.${symbol}`;
    this.follow({ last: 1 });
    this.askBase().catch(() => {}); // without a past, the first price that comes
  }

  follow(from) {
    this.from = from;
    this.subscription = bus.subscribe(this.channel, { from }, (quote) => this.take(quote));
  }

  cell(selector) {
    return this.element.querySelector(selector);
  }

  /** The first price of today that is in the log. */
  async askBase() {
    let from = { time: new Date().setHours(0, 0, 0, 0) };
    for (;;) {
      const page = await bus.history(this.channel, { from, limit: 1 });
      const [first] = page.messages;
      if (isQuote(first?.data)) {
        this.base = lastOf(first.data);
        this.cell(".change").title = `since ${timeOf(first.ts)}`;
        return this.changed();
      }
      if (!page.more) return;
      from = { after: page.cursor };
    }
  }

  take(quote) {
    received += 1;
    if (!isQuote(quote)) return;
    this.quote = quote;
    this.base ??= lastOf(quote);
    this.decimals = Math.max(this.decimals, decimalsOf(quote));
    this.changed();
  }

  changed() {
    if (!due.size) requestAnimationFrame(drawDue);
    due.add(this);
  }

  draw() {
    const { quote, drawn } = this;
    if (!quote) return;
    for (const side of ["bid", "ask"])
      this.drawPrice(this.cell(`.${side}`), quote[side], drawn?.[side]);
    this.drawn = quote;
    this.drawChange(lastOf(quote) - this.base);
  }

  /** The digits that are not those of the price before get the colour. */
  drawPrice(cell, price, before) {
    if (price === before) return;
    const text = price.toFixed(this.decimals);
    const old = before === undefined ? text : before.toFixed(this.decimals);
    let same = 0;
    while (same < text.length && text[same] === old[same]) same += 1;
    if (text.length !== old.length) same = 0;
    cell.firstChild.textContent = text.slice(0, same);
    cell.lastChild.textContent = text.slice(same);
    if (before === undefined) return;
    cell.dataset.move = price > before ? "up" : "down";
    // Two names for one animation: a new one begins.
    cell.dataset.flash = cell.dataset.flash === "a" ? "b" : "a";
  }

  drawChange(change) {
    const cell = this.cell(".change");
    const points = signed(change, this.decimals);
    cell.dataset.move = { "+": "up", "−": "down" }[points[0]] ?? "none";
    cell.querySelector(".points").textContent = points;
    cell.querySelector(".percent").textContent = `${signed((change / this.base) * 100, 2)} %`;
  }
}

/** With its sign, and nothing has none. */
function signed(value, decimals) {
  const text = Math.abs(value).toFixed(decimals);
  if (Number(text) === 0) return text;
  return (value > 0 ? "+" : "−") + text;
}

/** However much comes, a row is drawn once for each frame, and not at all in a hidden tab. */
function drawDue() {
  for (const row of due) row.draw();
  due.clear();
}

// Symbols come and go.

function add(symbol) {
  const row = new Row(symbol);
  rows.set(symbol, row);
  find("#quotes tbody").append(row.element);
  if (!chart.symbol) select(row);
  find(".empty").hidden = true;
  return row;
}

function remove(row) {
  const next = row.element.nextElementSibling ?? row.element.previousElementSibling;
  const focused = row.element.contains(document.activeElement);
  row.subscription.unsubscribe();
  row.element.remove();
  rows.delete(row.symbol);
  due.delete(row);
  find(".empty").hidden = rows.size > 0;
  if (focused) (next?.querySelector(".remove") ?? find("#symbol")).focus();
  if (chart.symbol === row.symbol) select(rows.get(next?.dataset.symbol));
}

function select(row) {
  for (const other of rows.values()) {
    const chosen = other === row;
    other.cell(".chart").setAttribute("aria-pressed", chosen);
    if (chosen) other.element.setAttribute("aria-current", "true");
    else other.element.removeAttribute("aria-current");
  }
  if (chart.symbol !== row?.symbol) chart.show(row?.symbol ?? null);
}

/** Ends well if the server knows the channel; else the row goes, and the server's words stay. */
async function subscribed(row) {
  try {
    await row.subscription.ready;
  } catch (error) {
    if (rows.get(row.symbol) !== row) return; // removed in the meantime
    if (hasNoPast(error) && row.from !== "now") {
      row.follow("now");
      return subscribed(row);
    }
    if (error.code === "closed") return; // that is no fault of the symbol
    remove(row);
    complain(`${row.symbol}: ${error.message}`);
    throw error;
  }
}

function complain(text) {
  find("#add-error").textContent = text;
  find("#symbol").setAttribute("aria-invalid", text !== "");
}

find("#add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = find("#symbol");
  const text = input.value.trim();
  const symbol = KNOWN.find((known) => known === text.toUpperCase()) ?? text;
  complain("");
  if (rows.has(symbol)) return complain(`${symbol} is in the table already.`);
  if (bus.state === "closed" || !symbol) return;
  input.value = "";
  try {
    await subscribed(add(symbol));
    keep();
  } catch {
    if (!input.value) input.value = text; // to be corrected
  }
});

// The choice is kept, and in the address: /#EURUSD,AAPL.

function keep() {
  const symbols = [...rows.keys()];
  remember("wsbus.quotes", symbols);
  history.replaceState(null, "", `#${symbols.map(encodeURIComponent).join(",")}`);
}

function chosen() {
  try {
    const symbols = decodeURIComponent(location.hash.slice(1)).split(",").filter(Boolean);
    if (symbols.length) return new Set(symbols);
  } catch {
    // not one of ours
  }
  const kept = recall("wsbus.quotes", FIRST);
  return new Set(Array.isArray(kept) ? kept.filter((symbol) => typeof symbol === "string") : FIRST);
}

addEventListener("hashchange", () => location.reload());

// How fast it is.

const seconds = []; // how many messages came in each of the last five
setInterval(() => {
  seconds.push(received);
  received = 0;
  if (seconds.length > 5) seconds.shift();
  const rate = seconds.reduce((sum, count) => sum + count, 0) / seconds.length;
  find("#rate").textContent = rate.toFixed(rate < 10 ? 1 : 0);
}, 1000);

/** The clocks of server and browser differ, so what is measured is a request and its answer. */
async function measure() {
  const [row] = rows.values();
  if (bus.state !== "open" || document.hidden || !row) return;
  const begin = performance.now();
  let steady = true;
  const stop = bus.on("state", () => (steady = false));
  const nothing = { from: { last: 0 }, limit: 1 };
  await bus.history(row.channel, nothing).catch(() => (steady = false));
  stop();
  const ms = performance.now() - begin;
  if (steady) find("#latency").textContent = ms.toFixed(ms < 10 ? 1 : 0);
}
setInterval(measure, 3000);
bus.on("state", ({ state }) => {
  if (state === "open") setTimeout(measure, 500); // after what the connection begins with
  else find("#latency").textContent = "–";
});

showConnection(bus, find("#connection"));
for (const symbol of KNOWN) find("#symbols").append(new Option(symbol));
for (const symbol of chosen()) subscribed(add(symbol)).catch(() => {});
