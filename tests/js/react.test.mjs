// The React hooks and their app, in StrictMode, against the real daemon.
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { Server, WebSocket, client, until } from "./aid.mjs";
import { QUOTES, fromNpm, page, stage } from "./stage.mjs";

// React looks for these when it is loaded, and until the process ends.
const document = page("", "http://127.0.0.1/");
const folder = path.join(stage(), "examples/react");
const { createElement: h, StrictMode } = fromNpm("react");
const { createRoot } = fromNpm("react-dom/client");
const { useChannel } = await import(pathToFileURL(path.join(folder, "useChannel.js")));
const { App } = await import(pathToFileURL(path.join(folder, "App.js")));

function react(t, url) {
  const sent = [];
  class Spy extends WebSocket {
    send(text) {
      sent.push(JSON.parse(text));
      super.send(text);
    }
  }
  const bus = client(t, url, { WebSocket: Spy });
  const place = document.body.appendChild(document.createElement("div"));
  const root = createRoot(place);
  t.after(() => {
    root.unmount();
    place.remove();
  });
  const show = (Component, props) =>
    root.render(h(StrictMode, null, h(Component, { bus, ...props })));
  return { bus, sent, root, show };
}

test("React: the app shows prices, chat and the state, through a kill", async (t) => {
  const server = await Server.start(t, QUOTES);
  const { show, sent, bus } = react(t, server.url);
  const text = (selector) => document.querySelector(selector)?.textContent ?? "";
  show(App);
  await until(() => text("[role=status]") === "open");
  await until(() => /EURUSD \d/.test(text("li")), "a price");
  const other = client(t, server.url);
  await other.publish("chat.lobby", { text: "<b>hello</b>" });
  await until(() => text("section li") === "<b>hello</b>", "a message, as text");

  await server.stop("SIGKILL");
  await until(() => text("[role=status]") !== "open", "the loss is shown");
  await server.start();
  await until(() => text("[role=status]") === "open");
  const price = text("li");
  await until(() => /EURUSD \d/.test(text("li")) && text("li") !== price, "prices move again");
  assert.match(text("li"), /some are missing/, "a new log");

  const select = document.querySelector("select");
  select.value = "AAPL";
  select.dispatchEvent(new window.Event("change", { bubbles: true }));
  await until(() => /AAPL \d/.test(text("li")), "another symbol");
  assert.doesNotMatch(text("li"), /missing/);
  await until(() => sent.some((f) => f.type === "unsubscribe" && f.channel === "quotes.EURUSD"));

  bus.close();
  await until(() => text("[role=status]") === "closed");
});

test("React: useChannel keeps so many, resets for another channel, cleans up", async (t) => {
  const server = await Server.start(t);
  const { show, root, sent, bus } = react(t, server.url);
  const seen = [];
  function Reader({ bus: of, channel, from, keep }) {
    const state = useChannel(of, channel, { from, keep });
    seen.push({ asked: channel, ...state });
    return h("p", null, state.messages.map(({ data }) => data).join(" "));
  }
  const shown = (text) => until(() => document.querySelector("p")?.textContent === text, text);
  for (const n of [1, 2, 3, 4]) await bus.publish("plain.one", n);
  await bus.publish("plain.two", "x");
  show(Reader, { channel: "plain.one", from: { last: 3 }, keep: 2 });
  await shown("3 4");
  await until(() => seen.at(-1).ready);
  await bus.publish("plain.one", 5);
  await shown("4 5");

  // The same place, written anew in each rendering: no other subscription.
  const before = sent.length;
  show(Reader, { channel: "plain.one", from: { last: 3 }, keep: 2 });
  show(Reader, { channel: "plain.two", from: { last: 1 }, keep: 2 });
  await shown("x");
  assert.deepEqual(
    sent.slice(before).filter(({ type }) => type !== "publish").map(({ type, channel }) => [type, channel]),
    [["unsubscribe", "plain.one"], ["subscribe", "plain.two"]],
  );
  for (const { asked, channel, messages } of seen) {
    assert.equal(channel, asked);
    assert.ok(messages.every((message) => message.channel === asked), "nothing of another channel");
  }

  show(Reader, { channel: "nobody.knows", keep: 2 });
  await until(() => seen.at(-1).error?.code === "unknown_channel");
  show(Reader, { channel: "plain.two", keep: 2 });
  await until(() => seen.at(-1).ready && !seen.at(-1).error);
  root.render(null);
  await until(() => sent.at(-1).type === "unsubscribe" && sent.at(-1).channel === "plain.two");

  bus.close();
  show(Reader, { channel: "plain.one" });
  await until(() => seen.at(-1).error?.code === "closed");
});
