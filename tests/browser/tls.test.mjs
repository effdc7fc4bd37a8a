// The daemon's own pages over https and wss.
import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";

import { certified, until } from "../js/aid.mjs";
import { demo, each, seen, shows } from "./aid.mjs";

const moves = async (page) => {
  const bid = () => document.querySelector('#quotes tr[data-symbol="EURUSD"] .bid')?.textContent;
  const before = await seen(page, "a price", bid);
  await until(async () => (await page.evaluate(bid)) !== before, "the price moves", 15000, 25);
};

each("the page of quotes over TLS, and a new certificate meanwhile", async (aid) => {
  const { listen } = certified(aid.t);
  const other = certified(aid.t).listen;
  const server = await aid.server({ ...demo(), listen });
  const page = await aid.page(`https://localhost:${server.port}/`);
  await shows(page, "open");
  await moves(page);
  const url = await page.evaluate(() => performance.getEntriesByType("resource").map((e) => e.name));
  assert.ok(url.every((name) => name.startsWith("https://")), url.join());

  for (const file of ["cert", "key"]) copyFileSync(other.tls[file], listen.tls[file]);
  await until(() => server.log.includes("tls_reloaded"), "the new certificate is taken over");
  await moves(page);
  assert.deepEqual(await page.evaluate(() => overheard.states.filter((s) => s !== "open")), ["connecting"]);
  await page.reload();
  await shows(page, "open");
  await moves(page);
});
