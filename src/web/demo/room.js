// A room of the chat: what was said in it, and what we are saying. Nothing of the page is in here.
//
// A message on the bus is {"id","name","text"}. Its sender chooses the id, so that what was perhaps
// not heard may be said again: everybody shows an id once.
import { gapReason } from "/demo/connection.js";

const PAGE = 50; // messages asked for at once
const MOST = 1000; // messages kept
export const LIMITS = { name: 40, text: 2000, room: 60 };

const partition = (pos) => pos.slice(0, pos.indexOf("/"));

// crypto.randomUUID is not there on a page without https.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Others may publish anything. */
function read({ data, pos, ts }) {
  const { id, name, text = data } = Object(data);
  return {
    id: typeof id === "string" && id ? id : pos ?? newId(),
    name: typeof name === "string" && name.trim() ? name.trim().slice(0, LIMITS.name) : "nobody",
    text: (typeof text === "string" ? text : JSON.stringify(data)).slice(0, LIMITS.text),
    pos,
    ts,
  };
}

export class Room {
  log = []; // oldest first; a `gap` instead of text where something is missing
  own = new Map(); // id: what we said and have not heard yet
  ids = new Set(); // of the log
  before = new Map(); // partition: place before the first message of the log
  complete = false; // the log begins with the first message there is
  loading = false;
  unread = 0;
  draft = "";

  /** `wrote`: list of the ids of what was said here. `changed()` is called after each change. */
  constructor(bus, name, wrote, changed) {
    Object.assign(this, { bus, name, wrote, changed, channel: `chat.${name}` });
  }

  get items() {
    return [...this.log, ...this.own.values()];
  }

  /** The newest page, then all that comes after it: no hole, no message twice. */
  async join() {
    const options = {
      from: await this.older(),
      onGap: (gap) => this.missing(gap),
      onError: (error) => this.joined && this.ended(error),
    };
    if (this.left) return;
    const hear = (data, message) => this.hear(message);
    this.subscription = this.bus.subscribe(this.channel, options, hear);
    await this.subscription.ready;
    this.joined = true;
  }

  leave() {
    this.left = true;
    this.subscription?.unsubscribe();
  }

  /** Reads the page before what we have; resolves to the place after it. */
  async older() {
    if (this.loading) return;
    this.loading = true;
    this.changed();
    try {
      const page = await this.page(this.before.size ? [...this.before.values()] : undefined);
      this.before = new Map(page.before.map((pos) => [partition(pos), pos]));
      this.complete = page.messages.length < PAGE;
      this.log.unshift(...page.messages.map(read).filter((item) => this.isNew(item)));
      return { after: page.cursor };
    } catch (error) {
      // A channel without a past that may be read is a chat too.
      if (error.code !== "unsupported" && error.code !== "forbidden") throw error;
      this.complete = true;
      return "now";
    } finally {
      this.loading = false;
      this.changed();
    }
  }

  isNew(item) {
    const { id } = item;
    if (this.ids.has(id)) return false; // said twice, since the first time was in doubt
    this.ids.add(id);
    item.mine = this.wrote.includes(id);
    return true;
  }

  /** The last messages up to `until`. The server may cut it in pieces. */
  async page(until) {
    const options = { from: { last: PAGE }, until, limit: PAGE };
    const whole = await this.bus.history(this.channel, options);
    for (let piece = whole; piece.more; ) {
      piece = await this.bus.history(this.channel, { ...options, from: { after: piece.cursor } });
      whole.messages.push(...piece.messages);
      whole.cursor = piece.cursor;
    }
    return whole;
  }

  /** The bus tells it; our own words too, and that is what puts them in their place. */
  hear(message) {
    const said = read(message);
    if (!this.isNew(said)) return;
    const own = this.own.get(said.id);
    this.own.delete(said.id);
    this.keep(Object.assign(own ?? {}, said, { state: "heard" }));
    if (!said.mine) this.unread += 1;
    this.changed();
  }

  keep(item) {
    this.log.push(item);
    if (this.log.length <= MOST) return;
    // What is forgotten can be read again.
    for (const { id, pos } of this.log.splice(0, MOST / 4)) {
      this.ids.delete(id);
      if (pos) this.before.set(partition(pos), pos);
      if (pos) this.complete = false;
    }
  }

  missing({ reason }) {
    // What the bus took before the gap may never be told to us.
    for (const item of [...this.own.values()].filter(({ state }) => state === "taken")) {
      this.own.delete(item.id);
      this.ids.add(item.id);
      this.keep(item);
    }
    this.keep({ gap: `Messages may be missing here: ${gapReason(reason)}.` });
    this.changed();
  }

  ended(error) {
    this.keep({ gap: `Nothing more comes: ${error.message}` });
    this.changed();
  }

  // Our own words: pending, then heard; or failed; or unknown, which settle() finds out.

  say(name, text) {
    const item = { id: newId(), name, text, ts: Date.now(), mine: true };
    this.wrote.push(item.id);
    this.own.set(item.id, item);
    return this.send(item);
  }

  async send(item) {
    const { id, name, text } = item;
    const become = (state, note) => {
      if (item.state !== "heard") Object.assign(item, { state, note });
      this.changed();
    };
    become("pending");
    try {
      await this.bus.publish(this.channel, { id, name, text });
      become("taken");
    } catch (error) {
      const unknown = error.code === "outcome_unknown";
      if (unknown) become("unknown", "It is not known whether this was sent.");
      else become("failed", `Not sent: ${error.message}`);
    }
  }

  /** The connection is back: what nobody heard is said again. */
  async settle() {
    const doubtful = [...this.own.values()].filter(({ state }) => state === "unknown");
    if (!doubtful.length) return;
    // Without a past to look at it is said again in any case.
    const { messages } = await this.page().catch(() => ({ messages: [] }));
    const heard = new Set(messages.map((message) => read(message).id));
    for (const item of doubtful) {
      if (item.state !== "unknown") continue;
      if (heard.has(item.id)) item.state = "taken";
      else this.send(item);
    }
    this.changed();
  }
}
