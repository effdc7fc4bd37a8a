// Follows quotes and loses none: keeps a cursor, reconnects, resumes after it. Nothing to install:
// Node 22 and later, Deno, Bun and browsers have this WebSocket.
//
//   node examples/node_quotes.mjs [ws://127.0.0.1:8080/ws] [EURUSD]

const url = process.argv[2] ?? "ws://127.0.0.1:8080/ws";
const channel = `quotes.${process.argv[3] ?? "EURUSD"}`;
const noReconnect = new Set([1002, 1003, 1007, 1008, 1009, 4500, 4501, 4502]);
const cursor = new Map(); // partition -> position
const take = (positions) => positions.forEach((p) => cursor.set(p.slice(0, p.indexOf("/")), p));

let pause = 500;

function on(frame, ws) {
  switch (frame.type) {
    case "welcome":
      ws.send(JSON.stringify({
        type: "subscribe", id: 1, channel,
        from: cursor.size ? { after: [...cursor.values()] } : { last: 1 },
      }));
      break;
    case "message":
      take([frame.pos]);
      console.log(frame.data.symbol, frame.data.bid, frame.data.ask);
      break;
    case "subscribed":
      pause = 500;
      if (frame.recovered === false) {
        console.error("some quotes are gone:", frame.reason);
        cursor.clear();
      }
      take(frame.cursor);
      break;
    case "live":
    case "position":
      take(frame.cursor);
      break;
    case "gap":
      console.error("a gap:", frame.reason);
      break;
    case "error":
      console.error(`refused: ${frame.code}: ${frame.message}`);
      ws.refused = !frame.retry;
      ws.close();
  }
}

function connect() {
  const ws = new WebSocket(url, "wsbus.v1");
  let over = false;
  const end = (code) => {
    if (over) return;
    over = true;
    console.error("no connection", code ?? "");
    if (ws.refused || noReconnect.has(code)) {
      process.exitCode = 1;
      return;
    }
    setTimeout(connect, pause);
    pause = Math.min(pause * 2, 15000);
  };
  ws.onmessage = (event) => on(JSON.parse(event.data), ws);
  ws.onclose = ({ code }) => end(code);
  ws.onerror = () => setTimeout(end, 100); // not every Node tells a refused connection by onclose
}

connect();
