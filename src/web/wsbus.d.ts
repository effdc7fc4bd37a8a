// Types of wsbus.js. Durations and times are in milliseconds.

/** A place in one partition of a channel's log; opaque. */
export type Position = string;
/** One position for each partition: all that is needed to resume. */
export type Cursor = Position[];

export type From =
  | "now"
  | "earliest"
  | { after: Cursor }
  | { time: number }
  | { ago: number }
  | { last: number };

export type State = "connecting" | "open" | "waiting" | "closed";

export interface Message<T = unknown> {
  type: "message";
  channel: string;
  /** Absent where the channel has no past that may be read. */
  pos?: Position;
  ts: number;
  key?: string;
  /** Base64 of a key that is not UTF-8. */
  key_binary?: string;
  headers?: Record<string, string | { binary: string }>;
  /** Parsed JSON; a string for `text`, a Uint8Array for `binary`, null for a tombstone. */
  data: T;
  /** Present where the payload is not JSON. */
  text?: string;
  /** Base64, present where the payload is not UTF-8. */
  binary?: string;
  tombstone?: true;
}

/** Messages were lost, or may have been. */
export interface Gap {
  channel: string;
  /** Of the protocol, or "disconnected": a channel without a past missed what came meanwhile. */
  reason: "slow" | "bus" | "expired" | "limit" | "epoch" | "disconnected" | (string & {});
  /** false where the cursor could not be resumed; delivery goes on after `cursor`. */
  recovered?: false;
  cursor?: Cursor | null;
  /** What is missing lies after `after`, up to `until`: `history(channel, { from: { after }, until })`. */
  after?: Cursor;
  until?: Cursor;
  lost?: number;
}

export interface SubscribeOptions {
  /** Default "now". */
  from?: From;
  onGap?(gap: Gap): void;
  /** The subscription has ended; also told by `ready` or by the iterator. */
  onError?(error: WsbusError): void;
}

export interface Subscription<T = unknown> extends AsyncIterable<Message<T>> {
  readonly channel: string;
  /** The past that `from` asked for has been delivered; rejects if there is no subscription. */
  readonly ready: Promise<void>;
  /** Up to here all has been delivered (or waits in the iterator). null: not yet, or no log. */
  readonly cursor: Cursor | null;
  /** At once: the handler is not called any more. */
  unsubscribe(): void;
}

export interface PublishOptions {
  key?: string;
  headers?: Record<string, string>;
  partition?: number;
  /** Instead of `data`: a payload that is not JSON. */
  text?: string;
  /** Instead of `data`: no payload at all. */
  tombstone?: true;
}

export interface Published {
  type: "published";
  pos?: Position;
  receivers?: number;
}

export interface HistoryOptions {
  /** Default "earliest". */
  from?: From;
  until?: Cursor;
  /** Default 100. */
  limit?: number;
}

export interface History<T = unknown> {
  type: "history";
  channel: string;
  messages: Message<T>[];
  /** `{ after: cursor }` gives the next page, and a subscription that joins without a hole. */
  cursor: Cursor;
  /** As `until` with `{ last: n }` it gives the page before. */
  before: Cursor;
  more: boolean;
  recovered?: boolean;
  reason?: string;
}

/**
 * `code` is one of the protocol's error codes, or `outcome_unknown` (sent, the connection ended
 * before the answer), `queue_full`, `overflow`, `unsubscribed`, `closed` (`close` is the close code).
 */
export class WsbusError extends Error {
  readonly name: "WsbusError";
  readonly code: string;
  /** The same may be asked again later. */
  readonly retry?: boolean;
  readonly retry_after?: number;
  readonly limit?: string;
  readonly channel?: string;
  readonly close?: number;
}

export interface StateEvent extends Event {
  state: State;
  /** Close code and reason, with "waiting" and "closed". 4001 also stands for our own verdict. */
  code?: number;
  reason?: string;
  /** With "waiting": the pause before the next attempt. */
  retryIn?: number;
}
export interface GapEvent extends Event, Gap {}
export interface ErrorEvent extends Event {
  error: Error;
  channel?: string;
}
export interface WsbusEvents {
  state: StateEvent;
  gap: GapEvent;
  error: ErrorEvent;
}

export interface Options {
  /** Default the global one; Node before 22 has none. */
  WebSocket?: unknown;
  /** Pause before the first reconnect, at most; doubled for each further one. Default 500. */
  minDelay?: number;
  /** Default 20000. */
  maxDelay?: number;
  /** For a connection to be ready. Default 20000. */
  timeout?: number;
  /** For a silent connection to give a sign of life. Default 5000. */
  pongTimeout?: number;
  /** Requests kept while there is no connection. Default 1000. */
  maxQueue?: number;
  /** Messages kept for an iterator, or while a late subscription fetches its past. Default 10000. */
  maxBuffer?: number;
  /** Of whole frames; default JSON.parse. For numbers of 64 bits. */
  parse?(text: string): any;
  stringify?(frame: object): string;
  /** For tests. */
  random?(): number;
  now?(): number;
  setTimeout?(run: () => void, ms: number): unknown;
  clearTimeout?(timer: any): void;
}

export class Wsbus extends EventTarget {
  static readonly Error: typeof WsbusError;
  /** Connects at once. http(s) becomes ws(s); relative to the page. */
  constructor(url: string | URL, options?: Options);
  readonly state: State;
  on<K extends keyof WsbusEvents>(type: K, listener: (event: WsbusEvents[K]) => void): () => void;
  subscribe<T = any>(
    channel: string,
    options: SubscribeOptions,
    handler: (data: T, message: Message<T>) => void,
  ): Subscription<T>;
  subscribe<T = any>(
    channel: string,
    handler: (data: T, message: Message<T>) => void,
  ): Subscription<T>;
  /** Without a handler: `for await (const { data } of bus.subscribe(channel))`. */
  subscribe<T = any>(channel: string, options?: SubscribeOptions): Subscription<T>;
  /** Ends all subscriptions of the channel. */
  unsubscribe(channel: string): void;
  publish(channel: string, data: unknown, options?: PublishOptions): Promise<Published>;
  history<T = any>(channel: string, options?: HistoryOptions): Promise<History<T>>;
  /** For good. What is left is rejected. */
  close(): void;
}
