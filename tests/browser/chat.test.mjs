// The chat page.
import assert from "node:assert/strict";

import { Proxy, client, range, until } from "../js/aid.mjs";
import { demo, each, seen, showed, shows, tabTo } from "./aid.mjs";

const place = (server, room = "") => `http://127.0.0.1:${server.port}/chat${room && `#${room}`}`;

/** What the page shows, from above. */
const messages = (page) =>
  page.$$eval("#messages li[data-id]", (all) =>
    all.map((one) => ({
      id: one.dataset.id,
      who: one.querySelector(".who")?.textContent.trim(),
      text: one.querySelector(".text").textContent,
      mine: one.classList.contains("mine"),
    })),
  );
const texts = async (page) => (await messages(page)).map(({ text }) => text);

/** Waits until there are messages with all of these texts. */
const has = (page, wanted) =>
  seen(
    page,
    `messages ${wanted.slice(0, 5)}… (${wanted.length})`,
    (wanted) => {
      const all = [...document.querySelectorAll("#messages li[data-id] .text")];
      const missing = new Set(wanted);
      for (const one of all) missing.delete(one.textContent);
      return !missing.size;
    },
    wanted,
  );

async function enter(aid, url, name, more) {
  const page = await aid.page(url, more);
  await shows(page, "open");
  if (name) {
    await page.$eval("#name", (input) => (input.value = ""));
    await page.type("#name", name);
    await page.keyboard.press("Tab");
  }
  return page;
}

/** As somebody types it. */
async function write(page, text) {
  await page.type("#text", text);
  await page.keyboard.press("Enter");
}

/** Many, quickly. */
const send = (page, text) =>
  page.evaluate((text) => {
    document.getElementById("text").value = text;
    document.getElementById("compose").requestSubmit();
  }, text);

const room = (name) => `#rooms [data-room="${name}"]`;
const current = (page) =>
  page.evaluate(() => {
    const at = document.querySelector("#rooms [aria-current]:not([aria-current=false])");
    return at?.dataset.room;
  });

async function join(page, name) {
  await page.type("#room", name);
  await page.keyboard.press("Enter");
  await until(async () => (await current(page)) === name, `room ${name}`, 15000, 25);
}

each("a message arrives in a second tab and at somebody else's", async (aid) => {
  const server = await aid.server(demo(0));
  const ann = await enter(aid, place(server), "Ann");
  const tab = await enter(aid, place(server));
  const bob = await enter(aid, place(server), "Bob", { context: await aid.context() });
  await ann.bringToFront();
  await write(ann, "good morning");
  for (const page of [ann, tab, bob]) {
    await page.bringToFront();
    await has(page, ["good morning"]);
  }
  await write(bob, "and to you");
  for (const page of [ann, tab, bob]) {
    await page.bringToFront();
    await has(page, ["good morning", "and to you"]);
    const all = await messages(page);
    assert.deepEqual(all.map(({ text }) => text), ["good morning", "and to you"]);
    assert.match(all[0].who, /Ann/);
    assert.match(all[1].who, /Bob/);
  }
  await seen(ann, "nothing pending", () => !document.querySelector("#messages .pending"));
  assert.deepEqual((await messages(ann)).map(({ mine }) => mine), [true, false]);
  assert.deepEqual((await messages(bob)).map(({ mine }) => mine), [false, true]);
});

each("markup stays text", async (aid) => {
  const server = await aid.server(demo(0));
  const evil = `<script>alert(1)</script><img src=x onerror="alert(2)"><b>bold</b>`;
  const bus = client(aid.t, server.url);
  await bus.publish("chat.lobby", { id: `x"><i>`, name: evil, text: evil });
  for (const odd of [null, 7, [], { id: 1, name: 2, text: 3 }, { id: "y" }, { text: evil }]) {
    await bus.publish("chat.lobby", odd);
  }
  await bus.publish("chat.lobby", "just text");
  const page = await enter(aid, place(server), evil);
  await has(page, [evil]);
  await write(page, evil);
  const own = (text) => document.querySelector("#messages .mine .text")?.textContent === text;
  await seen(page, "the own message", own, evil);
  assert.equal(await page.$$eval("#messages :is(script, img, b, i)", (all) => all.length), 0);
  await enter(aid, `${place(server)}#${encodeURIComponent("<img src=x onerror=alert(3)>")}`);
});

const said = (n, name = "Eve") => ({ id: `id-${n}`, name, text: `message ${n}` });

each("history on joining, and page by page back to the beginning", async (aid) => {
  const server = await aid.server(demo(0));
  const bus = client(aid.t, server.url);
  for (const n of range(230)) await bus.publish("chat.lobby", said(n));
  const page = await enter(aid, place(server));
  await has(page, ["message 230"]);
  assert.ok((await texts(page)).length < 230, "not all at once");
  await until(
    () =>
      page.$eval("#messages", (list) => {
        if (!list.scrollTop) list.scrollTop = 50;
        list.scrollTop = 0;
        return list.dataset.complete === "true";
      }),
    "the beginning",
    20000,
    60,
  );
  assert.deepEqual(await texts(page), range(230).map((n) => `message ${n}`));
  await bus.publish("chat.lobby", said(231));
  await has(page, ["message 231"]);
  assert.deepEqual(await texts(page), range(231).map((n) => `message ${n}`));
});

each("rooms are apart, and are there again", async (aid) => {
  const server = await aid.server(demo(0));
  const page = await enter(aid, place(server), "Ann");
  assert.equal(await current(page), "lobby");
  await write(page, "in the lobby");
  await join(page, "kitchen");
  await write(page, "in the kitchen");
  await has(page, ["in the kitchen"]);
  assert.deepEqual(await texts(page), ["in the kitchen"]);
  await page.click(room("lobby"));
  await has(page, ["in the lobby"]);
  assert.deepEqual(await texts(page), ["in the lobby"]);
  const direct = await enter(aid, place(server, "kitchen"), "", { context: await aid.context() });
  await has(direct, ["in the kitchen"]);
  assert.equal(await current(direct), "kitchen");
  const again = await enter(aid, place(server));
  assert.equal(await again.$eval("#name", (input) => input.value), "Ann");
  await seen(again, "the kitchen", (at) => !!document.querySelector(at), room("kitchen"));
});

const settled = () => !document.querySelector("#messages :is(.pending, .failed)");

each("the line is cut while both sides write: none lost, none doubled", async (aid) => {
  const server = await aid.server(demo(0));
  const proxy = await Proxy.start(aid.t, server.port);
  const near = proxy.url.replace("ws:", "http:").replace("/ws", "/chat");
  const ann = await enter(aid, near, "Ann");
  const bob = await enter(aid, place(server), "Bob", { context: await aid.context() });
  const wanted = [];
  for (const n of range(40)) {
    if (n % 10 === 5) {
      // Ann's next message goes to the daemon, and the answer does not come back.
      proxy.deafen();
    }
    for (const [page, name] of [[ann, "Ann"], [bob, "Bob"]]) {
      wanted.push(`${name} ${n}`);
      await send(page, `${name} ${n}`);
    }
    if (n % 10 === 6) proxy.cut();
    if (n === 20) {
      proxy.shut = true;
      proxy.cut();
      await shows(ann, "waiting");
    }
    if (n === 25) proxy.shut = false;
  }
  await showed(ann, "open", "waiting", "open");
  const all = [];
  for (const page of [ann, bob]) {
    await has(page, wanted);
    await seen(page, "none pending", settled);
    const got = await messages(page);
    assert.deepEqual(got.map(({ text }) => text).sort(), [...wanted].sort());
    assert.equal(new Set(got.map(({ id }) => id)).size, wanted.length);
    all.push(got.map(({ id }) => id));
  }
  const bobs = (await texts(bob)).filter((text) => text.startsWith("Bob"));
  assert.deepEqual(bobs, range(40).map((n) => `Bob ${n}`));
  // Who comes later sees the same.
  const late = await enter(aid, place(server), "", { context: await aid.context() });
  await has(late, wanted.slice(-2));
  const tail = (await messages(late)).map(({ id }) => id);
  assert.equal(new Set(tail).size, tail.length);
});

each("the daemon is killed and started again: the talk goes on", async (aid) => {
  const server = await aid.server(demo(0));
  const ann = await enter(aid, place(server), "Ann");
  const bob = await enter(aid, place(server), "Bob", { context: await aid.context() });
  await send(ann, "before");
  await has(bob, ["before"]);
  await server.stop("SIGKILL");
  for (const page of [ann, bob]) await shows(page, "waiting");
  await send(ann, "meanwhile");
  await server.start();
  for (const page of [ann, bob]) await showed(page, "open", "waiting", "open");
  await send(bob, "after");
  for (const page of [ann, bob]) await has(page, ["meanwhile", "after"]);
  await seen(ann, "none pending", settled);
});

each("what is refused is told, stays, and can be sent again", async (aid) => {
  const access = { anonymous: { subscribe: ["**"], publish: [] } };
  const server = await aid.server({ ...demo(0), access });
  const page = await enter(aid, place(server), "Ann");
  await write(page, "hello");
  const refused = (n) => {
    const sent = overheard.sent.filter((text) => text.includes('"type":"publish"'));
    return sent.length === n && !!document.querySelector("#messages .failed .again");
  };
  const failed = (n) => seen(page, `${n} refusals`, refused, n);
  await failed(1);
  await page.click("#messages .again");
  await failed(2);
  assert.deepEqual(await texts(page), ["hello"]);
});

each("by keyboard alone", async (aid) => {
  const server = await aid.server(demo(0));
  const page = await enter(aid, place(server));
  await tabTo(page, "#name");
  await page.keyboard.type("Ann");
  await tabTo(page, "#room");
  await page.keyboard.type("kitchen");
  await page.keyboard.press("Enter");
  await seen(page, "the kitchen", (at) => !!document.querySelector(at), room("kitchen"));
  await tabTo(page, "#text");
  await page.keyboard.type("soup?");
  await page.keyboard.press("Enter");
  await has(page, ["soup?"]);
  await tabTo(page, room("lobby"));
  await page.keyboard.press("Enter");
  await seen(page, "the lobby", () => !document.querySelector("#messages li[data-id]"));
  assert.equal(await current(page), "lobby");
  await tabTo(page, "#text");
  await page.keyboard.type("hello");
  await page.keyboard.press("Enter");
  await has(page, ["hello"]);
});
