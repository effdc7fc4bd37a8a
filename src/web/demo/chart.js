// A live chart of one symbol: its recent past from the log, then every new quote. Drawn by uPlot
// (github.com/leeoniya/uPlot), which the page loads as a classic script.
/* global uPlot */

import { gapReason } from "/demo/connection.js";
import { decimalsOf, hasNoPast, isQuote, timeOf } from "/demo/quote.js";

const PAST = 600; // quotes asked for
const MOST = 1000; // points kept
const FONT = "12px system-ui, sans-serif";

export class Chart {
  points = []; // {pos, time, bid, ask}; `gap` where something is missing before the point
  gaps = 0;
  decimals = 0;
  broken = null; // why there will be a break before the next point

  /** `figure` has a `.plot` and the outputs that `caption` writes to. */
  constructor(bus, figure) {
    Object.assign(this, { bus, figure });
    this.plot = figure.querySelector(".plot");
    this.draw = this.draw.bind(this);
    new ResizeObserver(() => this.resize()).observe(this.plot);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.u?.redraw());
  }

  /** `null` shows nothing. */
  show(symbol) {
    this.subscription?.unsubscribe();
    this.points.length = 0;
    Object.assign(this, { symbol, gaps: 0, decimals: 0, broken: null, subscription: null });
    if (symbol !== null) this.follow(`quotes.${symbol}`);
    this.changed();
  }

  /** The table follows the same channel: on the wire there is one subscription. */
  follow(channel, from = { last: PAST }) {
    if (this.bus.state === "closed") return;
    const onGap = ({ reason }) => {
      this.gaps += 1;
      this.broken = gapReason(reason);
      this.changed();
    };
    const take = (...quote) => this.take(...quote);
    const subscription = this.bus.subscribe(channel, { from, onGap }, take);
    this.subscription = subscription;
    subscription.ready.catch((error) => {
      if (this.subscription !== subscription || from === "now") return;
      if (hasNoPast(error)) this.follow(channel, "now");
    });
  }

  take(quote, { pos, ts }) {
    if (!isQuote(quote)) return;
    const { points } = this;
    const time = Math.max(ts, points.at(-1)?.time ?? 0); // a clock may be set back
    const point = { pos, time, bid: quote.bid, ask: quote.ask };
    if (this.broken && points.length) point.gap = this.broken;
    this.broken = null;
    points.push(point);
    if (points.length > MOST) points.splice(0, points.length - MOST);
    this.decimals = Math.max(this.decimals, decimalsOf(quote));
    this.changed();
  }

  /** However much comes, it is drawn once for each frame, and not at all in a hidden tab. */
  changed() {
    this.frame ??= requestAnimationFrame(this.draw);
  }

  draw() {
    this.frame = null;
    const { figure, points, gaps, symbol } = this;
    figure.dataset.symbol = symbol ?? "";
    figure.dataset.points = points.length;
    figure.dataset.gaps = gaps;
    this.u ??= new uPlot(this.options(), this.data(), this.plot);
    this.u.setData(this.data());
    this.caption();
  }

  /** Columns, as uPlot wants them; a row of nulls interrupts the lines. */
  data() {
    const times = [];
    const bids = [];
    const asks = [];
    for (const { time, bid, ask, gap } of this.points) {
      if (gap) {
        times.push(time);
        bids.push(null);
        asks.push(null);
      }
      times.push(time);
      bids.push(bid);
      asks.push(ask);
    }
    return [times, bids, asks];
  }

  options() {
    const axis = { font: FONT, stroke: color("--ink-2"), ticks: { show: false } };
    const grid = { stroke: color("--grid"), width: 1 };
    const line = { paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } };
    return {
      ...this.size(),
      ms: 1,
      legend: { show: false },
      padding: [8, 0, 0, 4],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { range: (u, first, last) => [first, last + Math.max(last - first, 1000) * 0.02] },
        y: { range: (u, low, high) => margin(low, high) },
      },
      axes: [
        { ...axis, grid: { show: false }, space: 64, size: 28, values: labels },
        {
          ...axis,
          grid,
          side: 1,
          space: 44,
          size: (u, texts) => 16 + 7 * Math.max(0, ...(texts ?? []).map((text) => text.length)),
          values: (u, at) => at.map((price) => this.price(price)),
        },
      ],
      series: [
        {},
        { ...line, stroke: color("--bid"), width: 1.75 },
        { ...line, stroke: color("--ask"), width: 1.25 },
      ],
      bands: [{ series: [2, 1], fill: color("--spread") }],
      hooks: {
        drawAxes: [(u) => this.drawGaps(u)],
        draw: [(u) => this.drawLast(u)],
        setCursor: [() => this.caption()],
      },
    };
  }

  size() {
    return { width: this.plot.clientWidth, height: this.plot.clientHeight };
  }

  resize() {
    const { width, height } = this.size();
    if (width && height) this.u?.setSize({ width, height });
  }

  price(value) {
    return value.toFixed(this.decimals);
  }

  /** What is missing is hatched, from the last point before to the first after. */
  drawGaps(u) {
    const { ctx, bbox } = u;
    this.points.forEach(({ time, gap }, i) => {
      if (!gap || !i) return;
      const left = u.valToPos(this.points[i - 1].time, "x", true);
      const width = Math.max(u.valToPos(time, "x", true) - left, 6 * devicePixelRatio);
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, bbox.top, width, bbox.height);
      ctx.clip();
      ctx.fillStyle = color("--gap-fill")();
      ctx.fillRect(left, bbox.top, width, bbox.height);
      ctx.strokeStyle = color("--gap")();
      ctx.lineWidth = devicePixelRatio;
      ctx.beginPath();
      for (let x = left - bbox.height; x < left + width; x += 8 * devicePixelRatio) {
        ctx.moveTo(x, bbox.top + bbox.height);
        ctx.lineTo(x + bbox.height, bbox.top);
      }
      ctx.stroke();
      ctx.restore();
    });
  }

  /** The newest bid: a dashed line, and a label on the axis. */
  drawLast(u) {
    const last = this.points.at(-1);
    if (!last) return;
    const { ctx, bbox } = u;
    const scale = devicePixelRatio;
    const y = Math.round(u.valToPos(last.bid, "y", true));
    const right = bbox.left + bbox.width;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = color("--bid")();
    ctx.lineWidth = scale;
    ctx.setLineDash([2 * scale, 3 * scale]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(right, y);
    ctx.stroke();
    ctx.fillRect(right, y - 10 * scale, ctx.canvas.width - right, 20 * scale);
    ctx.fillStyle = color("--surface")();
    ctx.font = FONT.replace("12", 12 * scale);
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    ctx.fillText(this.price(last.bid), right + 5 * scale, y + scale);
    ctx.restore();
  }

  /** Symbol and the quote under the pointer, or else the newest; and what is missing. */
  caption() {
    const { symbol, points } = this;
    const set = (name, text) => {
      const element = this.figure.querySelector(name);
      if (element.textContent !== text) element.textContent = text;
    };
    const point = this.pointed() ?? points.at(-1);
    set(".symbol", symbol ?? "");
    set(".when", point ? timeOf(point.time) : "");
    set(".bid", point ? this.price(point.bid) : "–");
    set(".ask", point ? this.price(point.ask) : "–");
    set(".gaps", this.lastGap());
  }

  lastGap() {
    const { points } = this;
    const at = points.findLastIndex(({ gap }) => gap);
    if (at < 1) return "";
    const [from, to] = [points[at - 1], points[at]];
    return `Nothing is known of ${timeOf(from.time)} to ${timeOf(to.time)}: ${to.gap}.`;
  }

  pointed() {
    const index = this.u?.cursor.idx;
    if (index == null) return null;
    const time = this.u.data[0][index];
    return this.points.findLast((point) => point.time === time);
  }
}

/** uPlot asks anew for each drawing, so the colours follow the page's. */
const color = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name);

/** Whole minutes need no seconds, a second is named once, and half a label at the edge not at all. */
function labels(u, times) {
  const end = times.every((time) => time % 60000 === 0) ? 5 : 8;
  const texts = times.map((time) => timeOf(time).slice(0, end));
  const fits = (time) => u.valToPos(time, "x") >= 26;
  return texts.map((text, i) => (fits(times[i]) && text !== texts[i - 1] ? text : ""));
}

/** A flat line is not at the edge, and a quiet market does not look wild. */
function margin(low, high) {
  if (low == null) return [0, 1];
  const room = Math.max((high - low) * 0.08, Math.abs(high) * 1e-5);
  return [low - room, high + room];
}
