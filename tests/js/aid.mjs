// The daemon under test, a proxy that does harm, and a client that the test closes by itself.
//
// WSBUS_BIN           the executable (default: build/wsbus)
// WSBUS_TEST_MODULES  directory that holds node_modules/ws (default: build/node)
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { Wsbus } from "../../src/web/wsbus.js";

const TOP = fileURLToPath(new URL("../../", import.meta.url));
const BINARY = process.env.WSBUS_BIN ?? path.join(TOP, "build/wsbus");
export const MODULES = process.env.WSBUS_TEST_MODULES ?? path.join(TOP, "build/node");

const ws = createRequire(path.join(MODULES, "x.js"))("ws");
export const WebSocket = globalThis.WebSocket ?? ws;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `holds` returns something true, and returns that. */
export async function until(holds, what = "a condition", ms = 15000, pause = 5) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await holds();
    if (value) return value;
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
    await sleep(pause);
  }
}

const CONFIG = {
  workers: 1,
  drain: 1500,
  buses: { m: { type: "memory", history: 20000 } },
  channels: [
    { match: "fleeting.{topic}", bus: "m", topic: "t-{topic}", history: false },
    { match: "small.**", bus: "few" },
    { match: "plain.**", bus: "m" },
  ],
};
CONFIG.buses.few = { type: "memory", history: 5 };

/**
 * A certificate for localhost, in a folder that is gone when the test `t` ends: the option `listen`
 * of a daemon that speaks TLS with it, and its file.
 */
export function certified(t) {
  const folder = mkdtempSync(path.join(tmpdir(), "wsbus-tls-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const [cert, key] = ["cert.pem", "key.pem"].map((name) => path.join(folder, name));
  const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  execFileSync("openssl", [...kind, ...names, "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { cert, listen: { address: "127.0.0.1:0", tls: { cert, key } } };
}

/** One daemon; it is stopped when the test `t` ends. */
export class Server {
  constructor(t, changes = {}) {
    this.config = { ...CONFIG, ...changes };
    this.folder = mkdtempSync(path.join(tmpdir(), "wsbus-js-"));
    t.after(async () => {
      await this.stop("SIGKILL");
      rmSync(this.folder, { recursive: true });
      const sanitizer = /^.*(Sanitizer|runtime error:)[^]*/m.exec(this.log);
      if (sanitizer) throw new Error(sanitizer[0]);
    });
  }

  static async start(t, changes) {
    const server = new Server(t, changes);
    await server.start();
    return server;
  }

  async start() {
    const file = path.join(this.folder, "wsbus.json");
    writeFileSync(file, JSON.stringify({ listen: `127.0.0.1:${this.port ?? 0}`, ...this.config }));
    const env = Object.entries(process.env).filter(([name]) => !name.startsWith("WSBUS_"));
    this.process = spawn(BINARY, ["-c", file], {
      env: Object.fromEntries(env),
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.log = "";
    this.process.stderr.on("data", (data) => (this.log += data));
    const ended = once(this.process, "exit");
    const address = () => /event=listening\b.*?\baddress="?[^\s"]*:(\d+)/.exec(this.log);
    const found = await until(() => {
      if (this.process.exitCode !== null) throw new Error(`the daemon ended: ${this.log}`);
      return address();
    }, "the daemon listens");
    this.ended = ended;
    this.port = Number(found[1]);
  }

  get url() {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  async stop(signal = "SIGTERM") {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode) return;
    this.process.kill(signal);
    await this.ended;
  }
}

/** Stands between client and daemon. */
export class Proxy {
  pairs = new Set();
  accepted = 0;
  delay = 0; // of every chunk, either way
  deaf = false; // what the daemon sends is lost, and nobody is told
  shut = false; // who connects is thrown out at once

  static async start(t, port) {
    const proxy = new Proxy();
    proxy.target = port;
    proxy.server = net.createServer((client) => proxy.join(client));
    proxy.server.listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    proxy.url = `ws://127.0.0.1:${proxy.server.address().port}/ws`;
    t.after(() => {
      proxy.cut();
      proxy.server.close();
    });
    return proxy;
  }

  join(client) {
    if (this.shut) return client.destroy();
    const daemon = net.connect(this.target, "127.0.0.1");
    const pair = [client, daemon];
    this.accepted++;
    this.pairs.add(pair);
    for (const end of pair) {
      const other = end === client ? daemon : client;
      const pass = (run) => (this.delay ? setTimeout(run, this.delay) : run());
      end.setNoDelay(true);
      end.on("error", () => {});
      end.on("data", (data) => {
        if (end === daemon && pair.deaf) return;
        pass(() => other.destroyed || other.write(data));
      });
      end.on("end", () => pair.deaf || pass(() => other.end()));
      end.on("close", () => {
        this.pairs.delete(pair);
        if (!pair.deaf) other.destroy();
      });
    }
    pair.deaf = this.deaf;
  }

  /** What the daemon sends on the connections of this moment is lost. */
  deafen() {
    for (const pair of this.pairs) pair.deaf = true;
  }

  /** Ends the daemon's side in order while the client's stays open: no close frame comes. */
  halfClose() {
    for (const [client] of this.pairs) client.end();
  }

  cut() {
    for (const pair of this.pairs) for (const end of pair) end.destroy();
    this.pairs.clear();
  }
}

/** A client in haste that keeps what it is told: `states`, `gaps`, `errors`. */
export function client(t, url, options) {
  const bus = new Wsbus(url, { WebSocket, minDelay: 10, maxDelay: 100, ...options });
  const told = { states: [], gaps: [], errors: [] };
  bus.on("state", (event) => told.states.push(event));
  bus.on("gap", (event) => told.gaps.push(event));
  bus.on("error", (event) => told.errors.push(event));
  t.after(() => bus.close());
  return Object.assign(bus, told);
}

export const opened = (bus) => until(() => bus.state === "open", "an open connection");

/**
 * `round`, again while it fails and this process or the daemon at `url` stood still for longer than
 * `gap` ms meanwhile: one that fails undisturbed is the verdict.
 */
export async function steadily(t, url, gap, round) {
  for (const end = Date.now() + 60000; ; ) {
    const watch = client(t, url);
    let longest = 0;
    let over = false;
    const watching = (async () => {
      while (!over) {
        const begun = Date.now();
        await sleep(10);
        await watch.publish("plain.watch", 1).catch(() => {});
        longest = Math.max(longest, Date.now() - begun);
      }
    })();
    const finish = async () => {
      over = true;
      await watching;
      watch.close();
    };
    try {
      await round();
      return await finish();
    } catch (error) {
      await finish();
      if (longest < gap || Date.now() > end) throw error;
    }
  }
}

const WELCOME = {
  type: "welcome",
  server: "fake/1",
  session: "0",
  ping: 25000,
  auth: "anonymous",
  limits: { message_bytes: 65536, frame_bytes: 132096, subscriptions: 256, history: 1000 },
};

/**
 * A server for what the daemon does not do when it is asked to. `answer(frame, say, socket, nth)`
 * is called for each frame, with `type` "connected" for the connection itself.
 */
export async function fake(t, answer) {
  const server = new ws.WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const fakes = { url: `ws://127.0.0.1:${server.address().port}/ws`, connections: 0 };
  server.on("connection", (socket) => {
    const nth = ++fakes.connections;
    const say = (frame) => socket.send(JSON.stringify(frame));
    say(WELCOME);
    answer({ type: "connected" }, say, socket, nth);
    socket.on("message", (text) => answer(JSON.parse(text), say, socket, nth));
  });
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return fakes;
}

let names = 0;
export const channel = (kind = "plain") => `${kind}.c${++names}`;

export const range = (n, first = 1) => Array.from({ length: n }, (_, i) => i + first);
