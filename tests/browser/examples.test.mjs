// The page of three lines, as the bridge serves it from a folder of the user's own.
import path from "node:path";

import { QUOTES } from "../js/stage.mjs";
import { TOP, each, seen } from "./aid.mjs";

const price = () => Number(document.querySelector("output").value);
const another = (before) => {
  const now = Number(document.querySelector("output").value);
  return now !== before && now;
};

each("three_lines.html: the price moves, also after the daemon was killed", async (aid) => {
  const server = await aid.server({ ...QUOTES, web: { root: path.join(TOP, "examples") } });
  const page = await aid.page(`http://127.0.0.1:${server.port}/three_lines.html`);
  const first = await seen(page, "a price", price);
  await seen(page, "another price", another, first);
  await server.stop("SIGKILL");
  const last = await page.evaluate(price);
  await server.start();
  await seen(page, "a price of the new log", another, last);
});
