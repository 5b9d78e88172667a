// Moves what changed place from where it was to where it is (FLIP), at once for who prefers that.

const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const EASING = "cubic-bezier(.2, .8, .2, 1)";

/** Run `change`, then animate the list's children from where they stood; new ones fade in. */
export function flip(list, change) {
  const before = new Map();
  for (const child of list.children) before.set(child, child.getBoundingClientRect().top);
  change();
  if (CALM.matches) return;
  for (const child of list.children) {
    const from = before.get(child);
    if (from === undefined) {
      child.animate([{opacity: 0, transform: "translateY(8px)"}, {opacity: 1, transform: "none"}],
                    {duration: 360, easing: EASING});
      continue;
    }
    const distance = from - child.getBoundingClientRect().top;
    if (Math.abs(distance) < 1) continue;
    child.animate([{transform: `translateY(${distance}px)`}, {transform: "none"}],
                  {duration: 640, easing: EASING});
  }
}

/** Let an element leave, then take it out. */
export async function leave(element, keyframes) {
  if (!CALM.matches && element.isConnected)
    await element.animate(keyframes, {duration: 240, easing: "ease-in", fill: "forwards"}).finished;
  element.remove();
}
