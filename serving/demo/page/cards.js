// A recommendation's card: what it is, why it is here, who is there, and what one can do about it.

import {avatars, hueOf, make} from "./elements.js";

const DISMISSALS = [
  ["dismiss", "Not now", "hidden for 24 hours"],
  ["not_interested", "Not interested", "hidden for 30 days"],
  ["never", "Never again", "hidden until reversed"],
];

export const consequence = (kind) => DISMISSALS.find(([each]) => each === kind)[2];

/** A new card; `on.dismiss(item, kind)` and `on.why(item)` are what its buttons do. */
export function card(item, on) {
  const cover = make(`span.cover.${item.entity_type}`, {"aria-hidden": "true"});
  cover.style.setProperty("--hue", hueOf(item.name));
  const name = item.entity_type === "room" ? `#${item.name.replace(/^#/, "")}` : item.name;
  const element = make("li.card", {"data-id": item.id, "data-entity": item.entity_id},
    make("span.rank"),
    cover,
    make("div.body", {},
      make("h3", {}, make("span.name", {title: name}, name), make("span.kind", {}, item.entity_type),
           item.is_new ? make("span.new", {}, "new to you") : null),
      make("p.reasons"),
      make("p.social")),
    make("div.actions", {},
      make("span.moved", {"aria-hidden": "true"}),
      make("span.score", {title: "Score, as published"}, Math.round(item.score * 100)),
      make("button.quiet", {type: "button", onclick: () => on.why(item),
                            "aria-label": `Why ${name}?`}, "Why?"),
      dismissMenu(item, name, on)));
  update(element, item);
  return element;
}

function dismissMenu(item, name, on) {
  const menu = make("details.menu", {},
    make("summary.quiet.icon", {"aria-label": `Hide ${name}`}, "✕"),
    make("div", {role: "group", "aria-label": `Hide ${name}`},
      ...DISMISSALS.map(([kind, label, what]) =>
        make("button", {type: "button", "data-kind": kind, onclick: () => {
          menu.open = false;
          on.dismiss(item, kind);
        }}, label, make("small", {}, what)))));
  return menu;
}

/** Bring a card up to date: its place, its reasons and its social block. */
export function update(element, item) {
  element.querySelector(".rank").textContent = item.rank;
  const reasons = item.reasons.map((reason) => reason.text).join(" · ");
  const line = element.querySelector(".reasons");
  if (line.textContent !== reasons) {
    line.textContent = reasons;
    line.title = reasons;
  }
  showSocial(element, item);
}

/** The social block; every room has its line, so that nothing jumps when somebody comes. */
export function showSocial(element, {entity_type: type, social}) {
  if (type !== "room") return;
  const line = element.querySelector(".social");
  const key = JSON.stringify(social);
  if (line.dataset.key === key) return;
  const first = line.dataset.key === undefined;
  line.dataset.key = key;
  const empty = !social.text;
  line.classList.toggle("empty", empty);
  line.replaceChildren(...(empty ? ["No friend is here yet"]
                                 : [avatars(social), make("span", {}, social.text)]));
  if (!first) restart(line, "changed");
}

/** Say for a while that a card moved; `places` up are positive. */
export function showMove(element, places) {
  element.querySelector(".moved").textContent = places > 0 ? `↑ ${places}` : `↓ ${-places}`;
  element.classList.toggle("up", places > 0);
  restart(element, "just-moved");
}

function restart(element, name) {
  element.classList.remove(name);
  void element.offsetWidth;  // so that the animation starts again
  element.classList.add(name);
}

/** Grey cards of the size that real ones have. */
export const placeholders = (count) =>
  Array.from({length: count}, () => make("li.card.placeholder", {"aria-hidden": "true"}));
