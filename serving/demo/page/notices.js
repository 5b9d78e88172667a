// What slides in: toasts, undo bars and problems. Toasts wait for nothing.

import {avatars, make} from "./elements.js";
import {leave} from "./motion.js";

const TOAST_MS = 8000;
const PROBLEM_MS = 8000;
const OUT_RIGHT = [{opacity: 1, transform: "none"}, {opacity: 0, transform: "translateX(24px)"}];
const OUT_DOWN = [{opacity: 1, transform: "none"}, {opacity: 0, transform: "translateY(16px)"}];

/** Take a notice away after a while, during which nobody points at it or is inside. */
function expire(notice, milliseconds, keyframes) {
  let timer;
  const start = () => (timer = setTimeout(() => leave(notice, keyframes), milliseconds));
  const stop = () => clearTimeout(timer);
  for (const event of ["pointerenter", "focusin"]) notice.addEventListener(event, stop);
  for (const event of ["pointerleave", "focusout"]) notice.addEventListener(event, start);
  start();
}

/** A toast of the real-time service; `visit()` shows the room of this name, where it is on the page. */
export function showToast(region, toast, roomName, visit) {
  const gone = () => leave(notice, OUT_RIGHT);
  const notice = make("article.toast", {"data-room": toast.room_id, "data-id": toast.id},
    avatars(toast),
    make("p", {}, toast.text),
    roomName && make("button.link", {type: "button", onclick: () => (visit(), gone())},
                     `Show ${roomName}`),
    make("button.quiet.icon", {type: "button", "aria-label": "Close", onclick: gone}, "✕"));
  region.append(notice);
  expire(notice, TOAST_MS, OUT_RIGHT);
}

/** An undo bar that counts down to the server's limit; its button. */
export function offerUndo(region, text, until, undo) {
  const left = make("span.left");
  const button = make("button.link", {type: "button", onclick: async () => {
    close();
    await undo();
  }}, "Undo ", left);
  const bar = make("div.undo-bar", {}, make("p", {title: text}, text), button);
  const tick = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    left.textContent = seconds;
    if (seconds <= 0) close();
  };
  const timer = setInterval(tick, 250);
  function close() {
    clearInterval(timer);
    leave(bar, OUT_DOWN);
  }
  tick();
  region.append(bar);
  return button;
}

/** The detail of a problem, once while it stands there. */
export function showProblem(region, problem) {
  const detail = problem.message;
  if ([...region.children].some((notice) => notice.dataset.detail === detail)) return;
  const gone = () => leave(notice, OUT_DOWN);
  const notice = make("div.problem", {"data-detail": detail},
    make("p", {}, detail, problem.requestId ? make("small", {}, `request ${problem.requestId}`) : null),
    make("button.quiet.icon", {type: "button", "aria-label": "Close", onclick: gone}, "✕"));
  region.append(notice);
  expire(notice, PROBLEM_MS, OUT_DOWN);
}
