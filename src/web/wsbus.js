// wsbus.js: the client of the wsbus bridge, for browsers and Node. MIT License.
// README.md says what it promises, wsbus.d.ts the types.

const DEFAULTS = {
  minDelay: 500, // of the first reconnect, before jitter; doubled for each further one
  maxDelay: 20000,
  timeout: 20000, // from connecting to `welcome`
  pongTimeout: 5000,
  maxQueue: 1000, // requests kept while there is no connection
  maxBuffer: 10000, // messages kept for an iterator that is slow
  parse: JSON.parse,
  stringify: JSON.stringify,
  random: Math.random,
  now: () => Date.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};
const FINAL = /^(1002|1003|1007|1008|1009|45..)$/; // close codes

const partition = (pos) => pos.slice(0, pos.indexOf("/"));
const toMap = (cursor) => cursor && new Map(cursor.map((pos) => [partition(pos), pos]));
const toList = (map) => map && [...map.values()];

const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const base64 = (data) => {
  const view = ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
  let text = "";
  for (const byte of view) text += String.fromCharCode(byte);
  return btoa(text);
};

/** Gives every message `data`, whatever its payload is. */
const withData = (message) => {
  if ("text" in message) message.data = message.text;
  if ("binary" in message) message.data = bytes(message.binary);
  return message;
};

export class WsbusError extends Error {
  constructor(code, text, more) {
    super(text || code);
    Object.assign(this, more, { name: "WsbusError", code });
  }
}

/** One socket after another: reconnects, watches for silence, knows nothing of channels. */
class Link {
  state = "connecting";
  attempt = 0;
  notBefore = 0;
  putOff = new Map(); // timer: what is tried again then

  constructor(url, options, owner) {
    Object.assign(this, { url, options, owner });
    this.wake = this.wake.bind(this);
    this.hearing("addEventListener");
  }

  /** Whatever may mean that the network is back, or gone. */
  hearing(verb) {
    for (const type of ["online", "offline", "pageshow"]) globalThis[verb]?.(type, this.wake);
    globalThis.document?.[verb]("visibilitychange", this.wake);
  }

  get closed() {
    return new WsbusError("closed", this.why.reason, { close: this.why.code });
  }

  get ready() {
    return this.state === "open" && this.socket.readyState === 1;
  }

  later(ms, run) {
    return this.options.setTimeout(run, ms);
  }

  cancel(timer) {
    this.options.clearTimeout(timer);
  }

  /** Exponential backoff with full jitter. */
  delay(attempt) {
    const { minDelay, maxDelay, random } = this.options;
    return random() * Math.min(maxDelay, minDelay * 2 ** attempt);
  }

  again({ retry_after = 0 }, attempt, run) {
    const timer = this.later(Math.max(this.delay(attempt), retry_after), () => {
      this.putOff.delete(timer);
      run();
    });
    this.putOff.set(timer, run);
  }

  change(state, why) {
    Object.assign(this, { state, why });
    this.owner.emit("state", { state, ...why });
  }

  open() {
    this.cancel(this.timer);
    let socket;
    try {
      socket = new this.options.WebSocket(this.url, "wsbus.v1");
    } catch (error) {
      return this.end({ reason: error.message });
    }
    // A socket given up may still have something to say.
    const mine = (run) => (event) => this.socket === socket && run(event);
    this.socket = socket;
    socket.onmessage = mine(({ data }) => this.frame(data));
    socket.onclose = mine(({ code, reason }) => this.lost(code, reason));
    // Some versions of Node tell a refused connection by this alone.
    socket.onerror = mine(() => this.later(100, mine(() => this.lost(1006, ""))));
    this.timer = this.later(this.options.timeout, () => this.drop("no welcome in time"));
    this.change("connecting");
  }

  frame(text) {
    let frame;
    try {
      frame = this.options.parse(text);
    } catch (error) {
      return this.owner.emit("error", { error });
    }
    this.alive = this.options.now();
    if (frame.type === "welcome") {
      this.cancel(this.timer);
      this.welcome = frame;
      this.since = this.alive;
      this.watch();
      this.state = "open";
      this.owner.up(); // what was queued goes before what the listeners of `state` send
      this.change("open");
    } else if (frame.type === "goaway") {
      this.notBefore = this.alive + (frame.retry_after ?? 0);
    } else {
      this.owner.frame(frame);
    }
  }

  /** Pages do not see WebSocket pings, so after long silence, or a sleep, we ask. */
  watch() {
    const ping = this.welcome.ping || 25000;
    const due = this.options.now() + ping / 2;
    this.timer = this.later(ping / 2, () => {
      const now = this.options.now();
      this.watch();
      if (now - this.alive >= 1.5 * ping || now - due > ping / 2) this.probe();
    });
  }

  probe() {
    if (this.probing) return;
    const { pongTimeout, now } = this.options;
    const wait = (ms) => {
      const due = now() + ms;
      this.probing = this.later(ms, () => {
        // Other frames are a sign of life too; a timer that is late says nothing.
        const doubt = now() - this.alive < pongTimeout / 2 || now() - due > 1000;
        if (doubt) wait(pongTimeout / 2);
        else this.drop("no answer");
      });
    };
    wait(pongTimeout);
    this.owner.send({ type: "ping" }, () => this.calm());
  }

  calm() {
    this.cancel(this.probing);
    this.probing = null;
  }

  wake() {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.ready) this.probe();
    else if (this.state === "waiting" && this.options.now() >= this.notBefore) this.open();
  }

  /** Gives the socket up without waiting for its close, which may take minutes. */
  drop(reason) {
    const { socket } = this;
    this.socket = null;
    if (socket.terminate) socket.terminate();
    else socket.close();
    this.lost(4001, reason);
  }

  lost(code, reason) {
    const now = this.options.now();
    this.cancel(this.timer);
    this.calm();
    this.socket = null;
    // One that lived for 10 s was a good one.
    if (this.state === "open" && now - this.since >= 10000) this.attempt = 0;
    this.state = "waiting";
    this.owner.down();
    if (FINAL.test(code)) return this.end({ code, reason });
    const retryIn = Math.max(this.delay(this.attempt++), this.notBefore - now);
    this.timer = this.later(retryIn, () => this.open());
    this.change("waiting", { code, reason, retryIn });
  }

  end(why) {
    this.cancel(this.timer);
    this.calm();
    this.hearing("removeEventListener");
    this.socket?.close(1000);
    this.socket = null;
    this.change("closed", why);
    this.owner.ended();
    for (const [timer, run] of this.putOff) {
      this.cancel(timer);
      run(); // is told that all is over
    }
  }
}

/** A subscriber of a channel, as the channel sees it. */
class Member {
  mode = "new"; // waits for the channel; then joining (fetches its past), active
  queue = [];
  held = []; // what came while joining
  over = false;

  constructor(feed, options, handler) {
    Object.assign(this, options, { feed, handler, from: options?.from ?? "now" });
    this.ready = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.ready.catch(() => {});
  }

  deliver(message) {
    if (this.over) return;
    if (this.handler) guard(this.handler, message.data, message);
    else this.keep(this.queue, message);
    this.wake?.();
  }

  keep(list, message) {
    if (list.push(message) < this.feed.bus.options.maxBuffer) return;
    this.feed.fail(this, new WsbusError("overflow", "more than maxBuffer messages wait"));
  }

  finish(why) {
    this.over = true;
    this.why = why;
    if (!this.failed) this.queue = []; // unsubscribed: nothing more comes
    this.reject(why);
    this.wake?.();
  }
}

/** The same, as the page sees it. */
class Subscription {
  #member;

  constructor(member) {
    this.#member = member;
    this.channel = member.feed.channel;
    this.ready = member.ready;
  }

  get cursor() {
    const { mode, page, feed } = this.#member;
    if (mode === "new") return null;
    return mode === "joining" ? page.after ?? null : toList(feed.cursor);
  }

  unsubscribe() {
    this.#member.feed.leave(this.#member);
  }

  async *[Symbol.asyncIterator]() {
    const m = this.#member;
    try {
      for (;;) {
        while (m.queue.length) yield m.queue.shift();
        if (m.failed) throw m.why;
        if (m.over) return;
        await new Promise((resolve) => (m.wake = resolve));
      }
    } finally {
      this.unsubscribe();
    }
  }
}

/** A mistake in the page's function is reported as such, and we go on. */
const guard = (run, ...values) => {
  try {
    run?.(...values);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
};

/** A channel: one subscription on the wire, shared by its members. */
class Feed {
  members = new Set();
  cursor = null;
  state = "off"; // asked, on
  begun = false; // was it ever on?
  live = false; // the past that was asked for is complete
  attempt = 0;

  constructor(bus, channel) {
    Object.assign(this, { bus, channel });
  }

  ask() {
    if (this.state !== "off" || !this.members.size || !this.bus.link.ready) return;
    let from = this.cursor ? { after: toList(this.cursor) } : "now";
    if (!this.begun) [{ from }] = this.members;
    this.state = "asked";
    this.bus.send({ type: "subscribe", channel: this.channel, from }, (error, reply) => {
      if (!this.members.size) return;
      if (error) this.refused(error, from);
      else this.subscribed(reply, from);
    });
  }

  refused(error, from) {
    this.state = "off";
    if (error.retry) return this.bus.link.again(error, this.attempt++, () => this.ask());
    for (const m of [...this.members]) if (this.begun || same(m.from, from)) this.fail(m, error);
    this.ask();
  }

  subscribed({ cursor, recovered, reason }, from) {
    const { begun } = this;
    this.state = "on";
    this.begun = true;
    this.attempt = 0;
    this.live = from === "now";
    this.cursor = toMap(cursor);
    for (const m of this.members) if (!begun && same(m.from, from)) m.mode = "active";
    if (recovered === false) {
      // The past that a late member fetches belongs to what is lost.
      for (const m of [...this.members]) if (m.mode === "joining") this.joined(m);
      this.gap({ reason, recovered, cursor });
    } else if (begun && !cursor) {
      this.gap({ reason: "disconnected" });
    }
    if (this.live) this.complete();
  }

  gap({ type, ...gap }, members = [...this.members]) {
    gap.channel = this.channel;
    for (const m of members) if (m.mode !== "new") guard(m.onGap, gap);
    this.bus.emit("gap", gap);
  }

  complete() {
    this.live = true;
    for (const m of [...this.members]) this.admit(m);
  }

  /** For each member once the channel is live. */
  admit(m) {
    if (m.mode === "active" || m.from === "now") return this.joined(m);
    if (m.mode === "joining") return;
    Object.assign(m, { mode: "joining", page: m.from, until: toList(this.cursor) });
    this.fetch(m);
  }

  fetch(m) {
    const { channel } = this;
    const frame = { type: "history", channel, from: m.page, until: m.until, limit: 1000 };
    this.bus.history(frame, (error, reply) => {
      if (m.mode !== "joining" || m.over) return;
      if (error) return this.fail(m, error);
      const { reason, recovered, before } = reply;
      if (recovered === false) this.gap({ reason, recovered, cursor: before }, [m]);
      m.page = { after: reply.cursor };
      const until = toMap(m.until);
      // All of a partition that is new since we joined comes live.
      for (const message of reply.messages)
        if (!until || until.has(partition(message.pos))) m.deliver(message);
      if (reply.more) this.fetch(m);
      else this.joined(m);
    });
  }

  joined(m) {
    m.mode = "active";
    for (const message of m.held.splice(0)) m.deliver(message);
    m.resolve();
  }

  frame(frame) {
    if (this.state !== "on") return; // of a subscription before this one
    if (frame.type === "message") this.message(frame);
    else if (frame.type === "gap") this.gap(frame);
    else if (frame.type === "unsubscribed") this.lose(new WsbusError("unsubscribed", frame.reason));
    else if (frame.cursor) this.cursor = toMap(frame.cursor);
    if (frame.type === "live") this.complete();
  }

  message(frame) {
    withData(frame);
    if (frame.pos) this.cursor?.set(partition(frame.pos), frame.pos);
    for (const m of [...this.members]) {
      if (m.mode === "active") m.deliver(frame);
      else if (m.mode === "joining") m.keep(m.held, frame);
    }
  }

  down() {
    this.state = "off";
    this.live = false;
  }

  leave(m, why = new WsbusError("unsubscribed")) {
    if (!this.members.delete(m)) return;
    m.finish(why);
    if (!this.members.size) this.bus.forget(this);
  }

  fail(m, error) {
    m.failed = true;
    this.leave(m, error);
    guard(m.onError, error);
    this.bus.emit("error", { error, channel: this.channel });
  }

  /** The page wants no more of it. */
  drop() {
    for (const m of [...this.members]) this.leave(m);
  }

  /** The server has ended it, or the connection has ended for good. */
  lose(error) {
    this.state = "off";
    for (const m of [...this.members]) this.fail(m, error);
  }
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Requests and their answers, and which frame is for which channel. */
class Bus {
  feeds = new Map();
  pending = new Map(); // id: what was sent
  queue = []; // what was not
  lastId = 0;

  constructor(url, options, emit) {
    Object.assign(this, { options, emit });
    this.link = new Link(url, options, this);
  }

  feed(channel) {
    let feed = this.feeds.get(channel);
    if (!feed) this.feeds.set(channel, (feed = new Feed(this, channel)));
    return feed;
  }

  forget(feed) {
    if (this.feeds.get(feed.channel) === feed) this.feeds.delete(feed.channel);
    if (feed.state !== "off" && this.link.ready)
      this.send({ type: "unsubscribe", channel: feed.channel }, () => {});
  }

  /** Calls `settle(error, reply)` once. Only what is `kept` outlives the lack of a connection. */
  send(frame, settle, kept) {
    const id = ++this.lastId;
    const request = { id, type: frame.type, settle, text: this.options.stringify({ ...frame, id }) };
    if (this.link.ready) return this.transmit(request);
    if (!kept) return;
    if (this.link.state === "closed") return settle(this.link.closed);
    if (this.queue.length >= this.options.maxQueue)
      return settle(new WsbusError("queue_full", "maxQueue requests wait"));
    this.queue.push(request);
  }

  transmit(request) {
    const { text, settle } = request;
    const { frame_bytes: limit } = this.link.welcome.limits;
    // The server would close the connection, for good.
    if (new TextEncoder().encode(text).length > limit)
      return settle(new WsbusError("too_large", `more than ${limit} bytes`));
    this.pending.set(request.id, request);
    this.link.socket.send(text);
  }

  /** Reading may be repeated, so it is, until there is an answer. */
  history(frame, settle, attempt = 0) {
    const answered = (error, reply) => {
      reply?.messages.forEach(withData);
      if (!error?.retry) return settle(error, reply);
      this.link.again(error, attempt, () => this.history(frame, settle, attempt + 1));
    };
    this.send(frame, answered, true);
  }

  // What the link tells.

  frame(frame) {
    const request = this.pending.get(frame.id);
    this.pending.delete(frame.id);
    if (frame.type === "error") {
      const { type, id, code, message, ...more } = frame;
      const error = new WsbusError(code, message, more);
      if (request) request.settle(error);
      else this.emit("error", { error, channel: more.channel });
    } else if (request) {
      request.settle(null, frame);
    } else {
      this.feeds.get(frame.channel)?.frame(frame);
    }
  }

  up() {
    for (const feed of this.feeds.values()) feed.ask();
    for (const request of this.queue.splice(0))
      if (this.link.ready) this.transmit(request);
      else this.queue.push(request);
  }

  down() {
    const sent = [...this.pending.values()];
    this.pending.clear();
    for (const feed of this.feeds.values()) feed.down();
    this.queue.unshift(...sent.filter(({ type }) => type === "history"));
    const unknown = new WsbusError("outcome_unknown", "connection lost before the answer");
    for (const { type, settle } of sent) if (type === "publish") settle(unknown);
  }

  ended() {
    const error = this.link.closed;
    this.down();
    for (const { settle } of this.queue.splice(0)) settle(error);
    for (const feed of [...this.feeds.values()]) feed.lose(error);
  }
}

export class Wsbus extends EventTarget {
  static Error = WsbusError;
  #bus;

  constructor(url, options) {
    super();
    options = { WebSocket: globalThis.WebSocket, ...DEFAULTS, ...options };
    if (!options.WebSocket) throw new TypeError("there is no WebSocket here: give options.WebSocket");
    url = new URL(url, globalThis.location?.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.#bus = new Bus(url.href, options, (type, fields) =>
      this.dispatchEvent(Object.assign(new Event(type), fields)),
    );
    this.#bus.link.open();
  }

  get state() {
    return this.#bus.link.state;
  }

  /** Listens to `state`, `gap` or `error`; returns a function that ends it. */
  on(type, listener) {
    this.addEventListener(type, listener);
    return () => this.removeEventListener(type, listener);
  }

  subscribe(channel, options, handler) {
    if (typeof options === "function") [options, handler] = [{}, options];
    if (this.state === "closed") throw this.#bus.link.closed;
    const feed = this.#bus.feed(channel);
    const member = new Member(feed, options, handler);
    feed.members.add(member);
    if (feed.live) feed.admit(member);
    else feed.ask();
    return new Subscription(member);
  }

  unsubscribe(channel) {
    this.#bus.feeds.get(channel)?.drop();
  }

  /** `data` is a JSON value, or bytes; `options`: key, headers, partition, text, tombstone. */
  async publish(channel, data, options) {
    const bytes = data instanceof ArrayBuffer || ArrayBuffer.isView(data);
    const payload = bytes ? { binary: base64(data) } : { data };
    const frame = { ...payload, ...options, type: "publish", channel };
    if (!["data", "binary", "text", "tombstone"].some((name) => frame[name] !== undefined))
      throw new TypeError("nothing to publish");
    return this.#request((settle) => this.#bus.send(frame, settle, true));
  }

  /** `options`: from, until, limit. Resolves to the frame: messages, cursor, before, more. */
  async history(channel, options) {
    const frame = { ...options, type: "history", channel };
    return this.#request((settle) => this.#bus.history(frame, settle));
  }

  close() {
    if (this.state === "closed") return;
    for (const feed of [...this.#bus.feeds.values()]) feed.drop();
    this.#bus.link.end({ code: 1000, reason: "closed by the page" });
  }

  #request(start) {
    return new Promise((resolve, reject) => {
      start((error, reply) => (error ? reject(error) : resolve(reply)));
    });
  }
}
