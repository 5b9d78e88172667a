// The explanation of one recommendation: reasons, signed contributions, what moves it now.

import {make} from "./elements.js";

const words = (text) => text.replaceAll("_", " ");
const signed = (value, digits = 2) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;

/** Fill and open the dialog. */
export function showWhy(dialog, item, explanation) {
  dialog.querySelector("#why-body").replaceChildren(
    make("p.eyebrow", {}, item.entity_type),
    make("h2", {id: "why-title"}, `Why ${item.name}?`),
    make("ul.because", {}, ...explanation.reasons.map((reason) => make("li", {}, reason.text))),
    section("Right now", moves(explanation.live)),
    section("What made the score", bars(explanation)),
    provenance(explanation));
  dialog.showModal();
}

const section = (title, content) =>
  content && make("section", {}, make("h3", {}, title), content);

function moves(live) {
  if (!live.length) return null;
  return make("ul.live", {}, ...live.map(({text, places}) =>
    make("li", {}, text, make("b", {"data-sign": Math.sign(places)},
                              `${signed(places, 1)} places`))));
}

function bars({contributions, score}) {
  const shown = contributions.filter(({contribution}) => Math.abs(contribution) >= 0.005);
  if (!shown.length) return null;
  const most = Math.max(...shown.map(({contribution}) => Math.abs(contribution)));
  const rows = shown.map(({term, contribution}) => {
    const bar = make("span.amount");
    bar.style.setProperty("--share", Math.abs(contribution) / most);
    return make("tr", {"data-sign": Math.sign(contribution)},
      make("th", {scope: "row"}, words(term)),
      make("td", {"aria-hidden": "true"}, bar),
      make("td.value", {}, signed(contribution)));
  });
  const sum = contributions.reduce((total, {contribution}) => total + contribution, 0);
  const table = make("table.bars", {},
    make("caption", {}, `Together ${signed(sum)}, which is a score of ${Math.round(score * 100)}.`),
    make("tbody", {}, ...rows));
  table.style.setProperty("--zero", shown.some((each) => each.contribution < 0) ? "50%" : "0%");
  return table;
}

function provenance(explanation) {
  const computed = explanation.computed_at && new Date(explanation.computed_at).toLocaleString();
  const facts = [
    ["Model", explanation.model_version],
    ["Generation", explanation.generation],
    ["Computed", computed],
    ["Published at place", explanation.rank],
    ["From", explanation.source],
  ].filter(([, value]) => value !== null && value !== undefined);
  return make("dl.facts", {}, ...facts.flatMap(([name, value]) =>
    [make("dt", {}, name), make("dd", {}, value)]));
}
