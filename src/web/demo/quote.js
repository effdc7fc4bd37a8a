// A quote, as the channels quotes.SYMBOL carry it:
// {"symbol":"EURUSD","bid":1.08431,"ask":1.08445,"last":1.08438,"time":1732200000000}

export const isQuote = (data) => Number.isFinite(data?.bid) && Number.isFinite(data?.ask);

export const lastOf = ({ bid, last }) => last ?? bid;

/** Numbers do not keep the zeros at their end; that all prices of a quote lack one is rare. */
export const decimalsOf = ({ bid, ask, last = bid }) =>
  Math.max(...[bid, ask, last].map((price) => String(price).split(".")[1]?.length ?? 0));

const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
export const timeOf = (ms) => clock.format(ms);

/** A bus without a log, or a channel whose past is not for us: there is only what comes. */
export const hasNoPast = ({ code }) => code === "unsupported" || code === "forbidden";
