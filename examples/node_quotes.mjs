// Follows quotes and loses none: wsbus.js reconnects, and resumes where it stopped.
//
//   node examples/node_quotes.mjs [ws://127.0.0.1:8080/ws] [EURUSD]
//
// Node before 22 has no WebSocket of its own: npm install ws

import { Wsbus } from "../src/web/wsbus.js"; // in a project of your own: from "wsbus"

const { WebSocket } = globalThis.WebSocket ? globalThis : await import("ws");
const [url = "ws://127.0.0.1:8080/ws", symbol = "EURUSD"] = process.argv.slice(2);

const bus = new Wsbus(url, { WebSocket });

bus.on("state", ({ state, code, reason, retryIn }) => {
  if (state === "waiting") console.error(`no connection (${code}), again in ${Math.round(retryIn)} ms`);
  if (state === "closed") console.error(`closed for good: ${code} ${reason}`);
});
bus.on("gap", ({ reason }) => console.error("some quotes are gone:", reason));
process.once("SIGINT", () => bus.close());

const quotes = bus.subscribe(`quotes.${symbol}`, { from: { last: 1 } });
try {
  for await (const { data: quote } of quotes) console.log(quote.symbol, quote.bid, quote.ask);
} catch (error) {
  console.error(`no more quotes: ${error.code}: ${error.message}`);
  process.exitCode = 1;
}
bus.close();
