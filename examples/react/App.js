// Two channels and the state of the connection. `h` instead of JSX: readable, and runs, as it is.
import { createElement as h, useState } from "react";

import { useChannel, useConnection } from "./useChannel.js";

function Quote({ bus, symbol }) {
  const { messages, gaps, error } = useChannel(bus, `quotes.${symbol}`, { from: { last: 1 }, keep: 1 });
  if (error) return h("li", null, `${symbol}: ${error.message}`);
  const quote = messages.at(-1)?.data;
  return h("li", null, `${symbol} ${quote?.bid ?? "…"}`, gaps.length ? " (some are missing)" : "");
}

function Chat({ bus, room }) {
  const [text, setText] = useState("");
  const [trouble, setTrouble] = useState(null);
  const { messages, ready } = useChannel(bus, `chat.${room}`, { from: { last: 20 } });

  const send = async (event) => {
    event.preventDefault();
    setText("");
    try {
      await bus.publish(`chat.${room}`, { text });
      setTrouble(null);
    } catch (error) {
      setTrouble(`"${text}": ${error.message}`); // outcome_unknown: it may have arrived
    }
  };

  return h("section", { "aria-busy": !ready },
    h("ul", null, messages.map(({ pos, data }) => h("li", { key: pos }, data.text))),
    h("form", { onSubmit: send },
      h("input", { "aria-label": "Message", value: text, onChange: (e) => setText(e.target.value) }),
      h("button", null, "Send")),
    trouble && h("p", { role: "alert" }, trouble));
}

export function App({ bus }) {
  const [symbol, setSymbol] = useState("EURUSD");
  const state = useConnection(bus);
  return h("main", null,
    h("p", { role: "status" }, state),
    h("select", { "aria-label": "Symbol", value: symbol, onChange: (e) => setSymbol(e.target.value) },
      ["EURUSD", "GBPUSD", "AAPL"].map((name) => h("option", { key: name }, name))),
    h("ul", null, h(Quote, { bus, symbol })),
    h(Chat, { bus, room: "lobby" }));
}
