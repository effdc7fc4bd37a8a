// Compressed messages, with the browsers' own permessage-deflate.
import assert from "node:assert/strict";

import { demo, each } from "./aid.mjs";

const SIZES = [0, 10, 300, 5000, 50000];

/** In the page: each message comes back as it was sent, over a WebSocket with this extension. */
const echoes = (port, sizes) =>
  new Promise((resolve, reject) => {
    const letters = "abcdefghijklmnopqrstuvwxyzäöü€ ";
    const text = (size) => {
      let chance = size;
      const letter = () => letters[((chance = Math.imul(chance, 1103515245) + 12345) >>> 16) % 31];
      return Array.from({ length: size }, letter).join("");
    };
    const socket = new WebSocket(`ws://127.0.0.1:${port}/raw?subscribe=chat.echo&publish=chat.echo`);
    let n = 0;
    socket.onopen = () => socket.send(text(sizes[0]));
    socket.onclose = ({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`));
    socket.onmessage = ({ data }) => {
      if (data !== text(sizes[n])) reject(new Error(`message ${n} has come back as another`));
      n++;
      if (n < sizes.length) socket.send(text(sizes[n]));
      else resolve(socket.extensions);
    };
  });

each("messages of all sizes, compressed", async (aid) => {
  const server = await aid.server({ ...demo(), compression: { enabled: true } });
  const page = await aid.page(`http://127.0.0.1:${server.port}/chat`);
  const extensions = await page.evaluate(echoes, server.port, SIZES);
  assert.match(extensions, /^permessage-deflate/);
});
