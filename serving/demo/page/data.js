// "Your data": what a person has a right to. Accounts linked and unlinked, an export, a deletion.
// States are the API's own; the panel asks for them while it is open.

import {make} from "./elements.js";

const ASK_MS = 2000;
const NAMES = {spotify: "Spotify", youtube: "YouTube", apple: "Apple Music"};
const STATES = {pending: "importing…", linked: "linked", waiting: "waits for the provider",
                revoked: "link again"};
const element = (id) => document.getElementById(id);

export class YourData {
  #person = null;
  #guarded;
  #gone;
  #jobs = new Map();  // person's id → id of their export
  #timer;

  /** `guarded(act)` runs something and shows its problem; `gone(person)` follows a deletion. */
  constructor(guarded, gone) {
    this.#guarded = guarded;
    this.#gone = gone;
    const dialog = element("data");
    element("data-open").addEventListener("click", () => {
      dialog.showModal();
      this.#draw();
      this.#timer = setInterval(() => this.#draw(), ASK_MS);
    });
    dialog.addEventListener("close", () => clearInterval(this.#timer));
    element("export").addEventListener("click", () => this.#do(() => this.#export()));
    element("delete").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#do(() => this.#delete());
    });
  }

  /** Whose data it is from now on. */
  of(person) {
    this.#person = person;
    element("data").close();
    element("delete").reset();
    for (const id of ["links", "export-state"]) element(id).replaceChildren();
    element("data-title").textContent = `Data of ${person.name}`;
  }

  #do(act) {
    return this.#guarded(async () => {
      await act();
      await this.#draw();
    });
  }

  #draw() {
    const person = this.#person;
    return this.#guarded(async () => {
      const [{links, offered}, job] = await Promise.all([person.links(), this.#job(person)]);
      if (person !== this.#person || !element("data").open) return;
      const known = new Map(links.map((link) => [link.provider, link]));
      const rows = offered.filter((each) => each !== "apple" || known.has(each))
        .map((each) => this.#row(each, known.get(each)));
      this.#replace(element("links"), rows.length ? rows : [make("li", {}, "No provider is set up here: see docs/linking.md.")]);
      this.#replace(element("export-state"), this.#exported(job));
    });
  }

  /** Only what changed: a button that somebody is about to press stays where it is. */
  #replace(list, children) {
    const next = make(list.tagName.toLowerCase(), {}, ...children);
    if (next.innerHTML !== list.innerHTML) list.replaceChildren(...next.childNodes);
  }

  #row(provider, link) {
    const button = (text, act) =>
      make("button.quiet", {type: "button", "aria-label": `${text}: ${NAMES[provider]}`,
                            onclick: () => this.#do(act)}, text);
    const person = this.#person;
    const came = link?.imported
      ? ` · ${link.imported.matched_artists} of ${link.imported.artists} artists` : "";
    return make("li", {"data-provider": provider, "data-state": link?.state ?? "none"},
      make("b", {}, NAMES[provider]),
      make("span", {title: link?.message ?? ""}, (link ? STATES[link.state] : "not linked") + came),
      link ? button("Unlink", () => person.unlink(provider)) : null,
      link ? button("Unlink and delete imports", () => person.unlink(provider, true)) : null,
      !link || link.state === "revoked" ? button("Link", () => this.#link(provider)) : null);
  }

  async #link(provider) {
    // Opened before the answer: a window that opens later is held back.
    const consent = window.open("about:blank", "_blank");
    try {
      consent.location = (await this.#person.link(provider)).authorize_url;
    } catch (problem) {
      consent.close();
      throw problem;
    }
  }

  async #export() {
    this.#jobs.set(this.#person.id, (await this.#person.exportData()).id);
  }

  #job(person) {
    const id = this.#jobs.get(person.id);
    return id ? person.job(id) : null;
  }

  #exported(job) {
    if (!job) return [];
    if (!job.download_url) return [make("span", {}, `Export ${job.status.replace("_", " ")}…`)];
    const until = new Date(job.download_expires_at).toLocaleString();
    return [make("a", {href: job.download_url, download: true}, "Download the ZIP"), ` until ${until}`];
  }

  async #delete() {
    const person = this.#person, scope = element("delete").elements.scope.value;
    await person.deleteData(scope);
    element("delete").reset();
    if (scope === "account") this.#gone(person);
  }
}
