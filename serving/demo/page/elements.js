// Building elements: text is always text, never markup.

/** `make("li.card", {attribute: value, onclick: f}, child, "text", …)`; null children are left out. */
export function make(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  element.classList.add(...classes);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A hue from 0 to 359 that is always the same for the same text. */
export function hueOf(text) {
  let hash = 2166136261;
  for (const character of text) hash = Math.imul(hash ^ character.codePointAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return ((hash ^ (hash >>> 13)) >>> 0) % 360;
}

/** A friend's picture over their initials, which stay where there is none or it does not load. */
export function avatar({name, avatar_url: picture}) {
  const words = (name ?? "?").split(/\s+/).filter(Boolean);
  const initials = words.slice(0, 2).map((word) => [...word][0]).join("").toUpperCase();
  const face = make("span.avatar", {title: name ?? "A friend", "aria-hidden": "true"}, initials);
  face.style.setProperty("--hue", hueOf(name ?? "?"));
  if (picture) {
    const image = make("img", {src: picture, alt: "", referrerpolicy: "no-referrer"});
    image.addEventListener("error", () => image.remove());
    face.append(image);
  }
  return face;
}

/** Up to four faces, then +N. */
export function avatars({avatars: faces, overflow}) {
  const row = make("span.avatars", {"aria-hidden": "true"}, ...faces.map(avatar));
  if (overflow > 0) row.append(make("span.avatar.more", {}, `+${overflow}`));
  return row;
}
