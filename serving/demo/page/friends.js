// The panel in which one plays the listener's friends, each over a connection of their own.

import {friendsOf, Person} from "./api.js";
import {avatar, make} from "./elements.js";
import {connect, intend} from "./live.js";
import {flip} from "./motion.js";

const IN_VIEW = 6;
const element = (id) => document.getElementById(id);

export class Friends {
  #listener;
  #people = [];
  #inside = new Map();  // friend's id → {socket, room}
  #url;
  #guarded;

  /** `guarded(act)` runs something and shows its problem. */
  constructor(url, guarded) {
    this.#url = url;
    this.#guarded = guarded;
    element("move").addEventListener("submit", (event) => {
      event.preventDefault();
      const [room] = element("room").selectedOptions;
      guarded(() => this.#join(element("friend").value, {id: room.value, name: room.textContent}));
    });
  }

  /** Meet the friends of another listener. */
  async meet(listener) {
    for (const {socket} of this.#inside.values()) socket.end();
    this.#inside.clear();
    this.#people = [];
    this.#draw();
    this.#listener = listener;
    const {friends} = await friendsOf(listener.id);
    if (listener !== this.#listener) return;  // another one was chosen meanwhile
    this.#people = friends.map((row) => new Person(row));
    element("friend").replaceChildren(...this.#people.map((person) =>
      make("option", {value: person.id},
           person.name + (person.hides_presence ? " (hides presence)" : ""))));
    const absent = this.#people.find((person) => !person.rooms.length);
    if (absent) element("friend").value = absent.id;
    this.#draw();
  }

  /** Offer the rooms of these cards, keeping what was chosen; else an empty one that is in view and
   *  can rise. */
  offer(items) {
    const rooms = items.filter((item) => item.entity_type === "room");
    const select = element("room"), chosen = select.value;
    const kept = rooms.find((room) => room.entity_id === chosen)
      ?? rooms.findLast((room) => room.rank <= IN_VIEW && !room.social.count) ?? rooms[0];
    select.replaceChildren(...rooms.map((room) =>
      make("option", {value: room.entity_id}, room.name)));
    if (kept) select.value = kept.entity_id;
    element("move").querySelector("button").disabled = !rooms.length || !this.#people.length;
  }

  async #join(friendId, room) {
    const person = this.#people.find((each) => each.id === friendId);
    let inside = this.#inside.get(friendId);
    if (inside?.room.id === room.id) return;
    if (!inside) {
      inside = this.#connect(person);
      this.#inside.set(friendId, inside);
    } else {
      await intend(inside.socket, "presence:leave", inside.room.id);
    }
    inside.room = room;
    try {
      await intend(inside.socket, "presence:join", room.id);
    } catch (problem) {
      inside.socket.end();
      this.#inside.delete(friendId);
      throw problem;
    } finally {
      this.#draw();
    }
    const next = this.#people[(this.#people.indexOf(person) + 1) % this.#people.length];
    element("friend").value = next.id;  // pressing again sends another friend after the first
  }

  /** Presence is per connection: one that is made again says again where the friend is. */
  #connect(person) {
    const inside = {socket: connect(person, this.#url), room: null};
    let again = false;
    inside.socket.on("connect", () => {
      if (again) this.#guarded(() => intend(inside.socket, "presence:join", inside.room.id));
      again = true;
    });
    return inside;
  }

  async #leave(person) {
    const {socket, room} = this.#inside.get(person.id);
    await intend(socket, "presence:leave", room.id);
    socket.end();
    this.#inside.delete(person.id);
    this.#draw();
  }

  #draw() {
    const list = element("friends");
    const rows = [];
    for (const person of this.#people) {
      const played = this.#inside.get(person.id)?.room;
      const rooms = played ? [played] : person.rooms;
      if (!rooms.length) continue;
      rows.push(make("li", {"data-friend": person.id},
        avatar(person),
        make("span", {}, make("b", {}, person.name),
             make("small", {}, rooms.map(({name}) => `#${name.replace(/^#/, "")}`).join(", ")
                               + (person.hides_presence ? " (hidden)" : ""))),
        played ? make("button.link", {type: "button", "aria-label": `${person.name} leaves`,
                                      onclick: () => this.#guarded(() => this.#leave(person))},
                      "Leave")
               : null));
    }
    flip(list, () => list.replaceChildren(...rows));
  }
}
