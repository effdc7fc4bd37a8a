// Chat: rooms, each a channel. room.js knows what was said, this module shows it.
import { Wsbus } from "/wsbus.js";
import { showConnection } from "/demo/connection.js";
import { LIMITS, Room } from "/demo/room.js";
import { recall, remember } from "/demo/storage.js";

const find = (selector) => document.querySelector(selector);
const copy = (template) => find(template).content.firstElementChild.cloneNode(true);

const bus = new Wsbus("/ws");
const rooms = new Map(); // name: Room
const wrote = recall("wsbus.wrote", [], "sessionStorage"); // ids of what was said in this tab
const box = find("#messages");
const list = find("#messages ol");
let shown = null; // the Room that is shown
let drawn = null; // the one that was shown in the last frame
let frame = null;
let following = true; // the end is in sight, and stays so

// Drawing: however much comes, once for each frame, and not at all in a hidden tab.

function changed() {
  frame ??= requestAnimationFrame(draw);
  title();
}

function draw() {
  frame = null;
  if (shown !== drawn) following = true;
  if (following && !document.hidden) shown.unread = 0;
  drawRooms();
  find("#title").textContent = shown.name;
  find("#leave").hidden = rooms.size < 2;
  drawMessages();
  const { unread } = shown;
  find("#newer").hidden = !unread;
  find("#newer").textContent = unread === 1 ? "1 new message ↓" : `${unread} new messages ↓`;
  title();
  pageBack();
}

const atEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < 40;
const toEnd = () => (box.scrollTop = box.scrollHeight);

/** What is old is not read out. */
function quiet() {
  box.setAttribute("aria-live", "off");
  clearTimeout(quiet.timer);
  quiet.timer = setTimeout(() => box.setAttribute("aria-live", "polite"), 1500);
}

/** Adds what is new where it belongs, and keeps in place what is being read. */
function drawMessages() {
  if (shown !== drawn) {
    quiet();
    list.replaceChildren();
    drawn = shown;
  }
  const stay = !following && firstVisible();
  const top = stay && stay.getBoundingClientRect().top;

  const elements = shown.items.map(elementOf);
  const wanted = new Set(elements);
  for (const element of [...list.children]) if (!wanted.has(element)) element.remove();
  let next = list.firstElementChild;
  for (const element of elements) {
    if (element === next) next = next.nextElementSibling;
    else list.insertBefore(element, next);
  }
  elements.forEach((element, i) => {
    element.classList.toggle("follows", i > 0 && follows(shown.items[i - 1], shown.items[i]));
  });

  box.dataset.complete = shown.complete;
  find("#messages .edge").textContent = edge(shown);
  find("#older").hidden = shown.complete || shown.loading || !shown.subscription;
  if (!stay) toEnd();
  else if (stay.isConnected) box.scrollTop += stay.getBoundingClientRect().top - top;
}

function firstVisible() {
  const { top } = box.getBoundingClientRect();
  return [...list.children].find((element) => element.getBoundingClientRect().bottom > top);
}

function edge({ loading, complete, items, trouble }) {
  if (loading) return "Loading …";
  if (trouble) return trouble;
  if (!complete) return "";
  return items.length ? "The beginning" : "Nothing has been said here yet.";
}

const follows = (before, item) =>
  !item.gap &&
  !before.gap &&
  before.name === item.name &&
  before.mine === item.mine &&
  item.ts - before.ts < 300000;

/** Everything that comes from others is set as text: markup in it stays text. */
function elementOf(item) {
  if (item.gap) {
    const text = { className: "gap", textContent: item.gap };
    return (item.element ??= Object.assign(document.createElement("li"), text));
  }
  item.element ??= newMessage(item);
  if (item.shown !== item.state) drawFate(item);
  return item.element;
}

function newMessage(item) {
  const element = copy("#message");
  const set = (name, text) => (element.querySelector(name).textContent = text);
  element.dataset.id = item.id;
  element.dataset.hue = hue(item.name);
  element.classList.toggle("mine", item.mine);
  set(".initial", [...item.name][0].toUpperCase());
  set(".who", item.name);
  set(".text", item.text);
  element.querySelector(".fate").hidden = true;
  element.querySelector(".again").addEventListener("click", () => {
    find("#text").focus();
    shown.send(item);
  });
  drawTime(element, item);
  return element;
}

function drawTime(element, { ts }) {
  const time = element.querySelector("time");
  const date = new Date(ts);
  const today = date.toDateString() === new Date().toDateString();
  time.dateTime = date.toISOString();
  time.title = date.toLocaleString();
  const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const full = { day: "numeric", month: "short", ...clock };
  time.textContent = date.toLocaleString("en-GB", today ? clock : full);
}

function drawFate(item) {
  const { element, state, note } = item;
  const doubtful = state === "failed" || state === "unknown";
  item.shown = state;
  element.classList.toggle("pending", state === "pending" || state === "unknown");
  element.classList.toggle("failed", state === "failed");
  element.classList.toggle("unknown", state === "unknown");
  element.querySelector(".fate").hidden = !doubtful;
  element.querySelector(".note").textContent = note ?? "";
  if (state === "heard") drawTime(element, item);
}

/** The same name has the same colour everywhere; chat.css has eight. */
function hue(name) {
  let sum = 7;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 1000003;
  return sum % 8;
}

function drawRooms() {
  for (const button of document.querySelectorAll("[data-room]"))
    if (!rooms.has(button.dataset.room)) button.parentElement.remove();
  const buttons = [...document.querySelectorAll("[data-room]")];
  for (const room of rooms.values()) {
    const button = buttons.find(({ dataset }) => dataset.room === room.name) ?? newEntry(room);
    if (room === shown) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    const unread = room === shown ? 0 : room.unread;
    const badge = button.querySelector(".unread");
    badge.hidden = !unread;
    badge.querySelector("b").textContent = unread;
  }
}

function newEntry(room) {
  const element = copy("#entry");
  const button = element.firstElementChild;
  button.dataset.room = room.name;
  button.querySelector(".label").textContent = room.name;
  button.addEventListener("click", () => show(room));
  find("#rooms").append(element);
  return button;
}

/** How much is unread, also where the tab is hidden. */
function title() {
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  const text = `${unread ? `(${unread}) ` : ""}${shown?.name ?? "Chat"} · wsbus`;
  if (document.title !== text) document.title = text;
}

// Rooms.

/** Ends badly, with the server's words, if the server does not want such a room. */
async function join(name) {
  const room = new Room(bus, name, wrote, changed);
  rooms.set(name, room);
  show(shown ?? room);
  try {
    await room.join();
  } catch (error) {
    if (room.left) return;
    if (rooms.size > 1) leave(room);
    else room.ended(error);
    complain(`${name}: ${error.message}`);
    throw error;
  }
}

function show(room) {
  if (shown && shown !== room) {
    shown.draft = find("#text").value;
    find("#text").value = room.draft;
  }
  shown = room;
  history.replaceState(null, "", `#${encodeURIComponent(room.name)}`);
  changed();
}

function leave(room) {
  room.leave();
  rooms.delete(room.name);
  if (shown === room) show([...rooms.values()].at(-1));
  changed();
}

const keep = () => remember("wsbus.rooms", [...rooms.keys()]);

function complain(text) {
  find("#join-error").textContent = text;
  find("#room").setAttribute("aria-invalid", text !== "");
}

find("#join").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = find("#room");
  const name = input.value.trim();
  complain("");
  if (!name) return;
  input.value = "";
  try {
    const joined = rooms.has(name) || join(name);
    show(rooms.get(name));
    await joined;
    keep();
  } catch {
    if (!input.value) input.value = name; // to be corrected
  }
});

find("#leave").addEventListener("click", () => {
  leave(shown);
  keep();
  find("#text").focus();
});

addEventListener("hashchange", () => location.reload());

// Reading and writing.

async function older() {
  const room = shown;
  if (room.complete || room.loading || !room.subscription) return;
  try {
    quiet();
    await room.older();
    room.trouble = "";
  } catch (error) {
    room.trouble = error.message;
  }
  changed();
}

/** At the top there is always more, until the beginning is reached. */
function pageBack() {
  if (box.scrollTop < 60 && !shown.trouble) older();
}

box.addEventListener("scroll", () => {
  following = atEnd();
  if (following && shown.unread) changed();
  if (!frame) pageBack();
});
// A telephone's keyboard takes away half of the room.
new ResizeObserver(() => following && toEnd()).observe(box);
document.addEventListener("visibilitychange", changed);
find("#older").addEventListener("click", older);
find("#newer").addEventListener("click", () => {
  toEnd();
  find("#text").focus();
});

find("#compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("#text").value.trim();
  if (!text) return;
  find("#text").value = "";
  following = true;
  shown.say(find("#name").value, text);
  wrote.splice(0, wrote.length - 500);
  remember("wsbus.wrote", wrote, "sessionStorage");
});
find("#text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  find("#compose").requestSubmit();
});

remember("wsbus.name", recall("wsbus.name", `Guest ${100 + Math.floor(Math.random() * 900)}`));
find("#name").value = recall("wsbus.name", "Guest");
find("#name").addEventListener("change", ({ target }) => {
  target.value = target.value.trim().slice(0, LIMITS.name) || recall("wsbus.name", "Guest");
  remember("wsbus.name", target.value);
});

// The beginning.

bus.on("state", ({ state }) => {
  if (state === "open") for (const room of rooms.values()) room.settle().catch(() => {});
});
showConnection(bus, find("#connection"));

function hashRoom() {
  try {
    return decodeURIComponent(location.hash.slice(1)).trim().slice(0, LIMITS.room);
  } catch {
    return "";
  }
}

const first = hashRoom();
for (const name of new Set([...recall("wsbus.rooms", ["lobby"]), first].filter(Boolean)))
  join(name).then(keep, () => {});
if (rooms.has(first)) show(rooms.get(first));
