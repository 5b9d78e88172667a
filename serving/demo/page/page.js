// The page: one listener, one list, and what the real-time service says about it.
// What is drawn follows what the services answer; nothing is guessed here.

import {listeners, Person, Problem} from "./api.js";
import {card, consequence, placeholders, showMove, showSocial, update} from "./cards.js";
import {YourData} from "./data.js";
import {make} from "./elements.js";
import {Friends} from "./friends.js";
import {atMostOncePer, connect} from "./live.js";
import {flip} from "./motion.js";
import {offerUndo, showProblem, showToast} from "./notices.js";
import {showWhy} from "./why.js";

const PAGE_SIZE = 12;
const RENDER_MS = 1000;
const LOG_LINES = 6;
const element = (id) => document.getElementById(id);

const page = {listener: null, kind: "feed", items: [], readAt: null, socket: null, reads: 0};
const cards = new Map();  // recommendation's id → element
const told = new Map();   // room's id → social block that came since the last rendering
let friends, realtime, yourData;

async function guarded(act) {
  try {
    return await act();
  } catch (problem) {
    if (!(problem instanceof Problem)) console.error(problem);
    showProblem(element("problems"), problem);
  }
}

// ---- reading and drawing ------------------------------------------------------------------------

async function refresh({moves = false} = {}) {
  const read = ++page.reads;
  const answer = await page.listener.list(page.kind, PAGE_SIZE);
  if (read !== page.reads) return;  // another list was asked for meanwhile
  const before = new Map(page.items.map((item) => [item.id, item.rank]));
  page.items = answer.items;
  page.readAt = Date.now();
  draw();
  describe(answer);
  if (!moves) return;
  for (const item of page.items) {
    const places = (before.get(item.id) ?? item.rank) - item.rank;
    if (places) showMove(cards.get(item.id), places);
  }
}

function draw() {
  const list = element("feed");
  flip(list, () => list.replaceChildren(...page.items.map((item) => {
    const known = cards.get(item.id);
    if (known) update(known, item);
    else cards.set(item.id, card(item, {dismiss, why}));
    return cards.get(item.id);
  })));
  list.setAttribute("aria-busy", "false");
  if (!page.items.length) list.append(make("li.nothing", {}, "Nothing to recommend yet."));
  if (["feed", "rooms"].includes(page.kind)) friends.offer(page.items);
}

function describe({source, generation, items}) {
  const models = [...new Set(items.map((item) => item.model_version).filter(Boolean))];
  const facts = [`${source} list`, generation && `generation ${generation}`, ...models];
  element("freshness").replaceChildren(
    make("span", {}, facts.filter(Boolean).join(" · ")), " · ", make("time", {id: "read"}));
  tellAge();
}

function tellAge() {
  const age = element("read");
  if (!age) return;
  const seconds = Math.round((Date.now() - page.readAt) / 1000);
  age.textContent = seconds < 2 ? "read just now" : `read ${seconds} s ago`;
}

// ---- what the listener does ---------------------------------------------------------------------

function dismiss(item, kind) {
  return guarded(async () => {
    const {undo_until: until} = await page.listener.dismiss(item.id, kind);
    const listener = page.listener;
    const inside = cards.get(item.id).contains(document.activeElement);
    const button = offerUndo(element("undo"), `${item.name}: ${consequence(kind)}`, new Date(until),
      () => guarded(async () => {
        await listener.undo(item.id);
        if (listener === page.listener) await refresh();
      }));
    if (inside) button.focus();  // the keyboard's place goes with the card
    page.items = page.items.filter((each) => each.id !== item.id);
    draw();
    cards.delete(item.id);
    await refresh();
  });
}

function why(item) {
  return guarded(async () => showWhy(element("why"), item, await page.listener.explain(item.id)));
}

const cardOf = (entityId) =>
  element("feed").querySelector(`[data-entity="${CSS.escape(entityId)}"]`);

function visit(roomId) {
  const found = cardOf(roomId);
  if (!found) return;
  found.scrollIntoView({block: "center", behavior: "smooth"});
  found.querySelector("button").focus({preventScroll: true});
}

// ---- what the real-time service says ------------------------------------------------------------

const renderPresence = atMostOncePer(RENDER_MS, () => guarded(async () => {
  performance.mark("rendered");
  for (const item of page.items) {
    const social = told.get(item.entity_id);
    if (!social) continue;
    item.social = social;
    showSocial(cards.get(item.id), item);
  }
  told.clear();
  await refresh({moves: true});
}));

const shows = (types) => page.kind === "feed" || types.includes(page.kind.slice(0, -1));

function onPresence({rooms, since}) {
  for (const {room_id: id, text, count, avatars, overflow} of rooms)
    told.set(id, {text, count, avatars, overflow});
  const names = rooms.map((room) => room.text || "Somebody left");
  log("presence", names.join("; "), since);
  if (shows(["room"])) renderPresence();
}

function onToast(toast) {
  log("toast", toast.text, toast.at);
  const card = cardOf(toast.room_id);
  showToast(element("toasts"), toast, card?.querySelector(".name").textContent,
            () => visit(toast.room_id));
}

function onFeedUpdated({entity_types: types, reason, at}) {
  log("feed", `New order of ${types.join("s, ")}s (${reason})`, at);
  if (shows(types)) renderPresence();
}

function log(kind, text, since) {
  const line = make("li", {"data-kind": kind}, make("b", {}, kind), make("span", {title: text}, text));
  const milliseconds = since ? Date.now() - new Date(since) : NaN;
  if (milliseconds >= 0 && milliseconds < 60_000)
    line.append(make("time", {title: "Since the service accepted it"}, `${milliseconds} ms`));
  flip(element("log"), () => {
    element("log").prepend(line);
    while (element("log").children.length > LOG_LINES) element("log").lastChild.remove();
  });
}

function connection(state, text, title = "") {
  const shown = element("connection");
  Object.assign(shown.dataset, {state});
  shown.textContent = text;
  shown.title = title;
}

function listen() {
  page.socket?.end();
  connection("connecting", "Connecting");
  const socket = page.socket = connect(page.listener, realtime);
  let missed = false;
  socket.on("connect", () => {
    connection("live", "Live");
    if (missed) renderPresence();
    missed = true;
  });
  socket.on("disconnect", () => connection("offline", "Offline, trying again"));
  socket.on("connect_error", (problem) => {
    connection("offline", "Offline, trying again", problem.data?.detail ?? problem.message);
    if (problem.data) showProblem(element("problems"), new Problem(problem.data));
  });
  socket.on("presence", onPresence);
  socket.on("toast", onToast);
  socket.on("feed_updated", onFeedUpdated);
}

// ---- choosing -----------------------------------------------------------------------------------

async function show() {
  cards.clear();
  page.items = [];
  element("feed").setAttribute("aria-busy", "true");
  element("feed").replaceChildren(...placeholders(PAGE_SIZE));
  await refresh();
}

async function choose(row) {
  page.listener = new Person(row);
  for (const id of ["toasts", "undo", "log"]) element(id).replaceChildren();
  told.clear();
  const [first] = row.name.split(" ");
  element("headline").textContent = `${greeting()}, ${first}.`;
  yourData.of(page.listener);
  listen();
  await Promise.all([guarded(() => friends.meet(row)), guarded(show)]);
  friends.offer(page.items);
}

/** Who deleted their account is nobody to choose any more. */
function farewell(person) {
  const select = element("listener");
  select.querySelector(`[value="${CSS.escape(person.id)}"]`)?.remove();
  page.socket?.end();
  element("data").close();
  element("feed").replaceChildren(make("li.nothing", {}, `${person.name} is gone, with the answer to this request.`));
  element("headline").textContent = `Goodbye, ${person.name.split(" ")[0]}.`;
  select.selectedIndex = -1;
}

function greeting() {
  const hour = new Date().getHours();
  return hour < 5 ? "Good night" : hour < 12 ? "Good morning" : hour < 18 ? "Good afternoon"
                                                                        : "Good evening";
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

async function start() {
  element("feed").replaceChildren(...placeholders(PAGE_SIZE));
  element("theme").addEventListener("click", toggleTheme);
  setInterval(tellAge, 1000);
  const {listeners: rows, realtime_port: port} = await listeners();
  // Behind a proxy both services are one origin.
  realtime = location.port ? `${location.protocol}//${location.hostname}:${port}` : location.origin;
  friends = new Friends(realtime, guarded);
  yourData = new YourData(guarded, farewell);
  const select = element("listener");
  if (!rows.length) {
    select.replaceChildren(make("option", {}, "Nobody yet"));
    throw new Problem({detail: "Nobody has a published feed yet: run `seda materialize`."});
  }
  select.replaceChildren(...rows.map((row) => make("option", {value: row.id},
    `${row.name} · ${row.friends} friends${row.region === "eu" ? " · EU" : ""}`)));
  select.disabled = false;
  select.addEventListener("change", () =>
    choose(rows.find((row) => row.id === select.value)));
  element("kinds").addEventListener("change", (event) => {
    page.kind = event.target.value;
    guarded(show);
  });
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]"))
      if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
  await choose(rows[0]);
}

guarded(start);
