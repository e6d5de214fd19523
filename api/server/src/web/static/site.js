// Everything works without this: it saves clicks, and looks again at what is on its way.
"use strict";

// Rows that nobody has filled are shown one by one, as they are asked for.
for (const set of document.querySelectorAll("fieldset[data-rows]")) {
  const rows = [...set.querySelectorAll(".row")];
  const named = (row) => row.querySelector("input").value !== "";
  const more = document.createElement("button");
  more.type = "button";
  more.className = "second";
  more.textContent = set.dataset.rows;
  const last = rows.map(named).lastIndexOf(true);
  rows.forEach((row, at) => { row.hidden = at > Math.max(0, last); });
  const settle = () => { more.hidden = rows.every((row) => !row.hidden); };
  more.addEventListener("click", () => {
    const next = rows.find((row) => row.hidden);
    if (next) {
      next.hidden = false;
      next.querySelector("input").focus();
    }
    settle();
  });
  set.append(more);
  settle();
}

// What belongs to the first choice of a list alone.
for (const part of document.querySelectorAll("[data-when]")) {
  const list = document.getElementById(part.dataset.when);
  const settle = () => { part.hidden = list.value !== ""; };
  list.addEventListener("change", settle);
  settle();
}

// A second click on the way changes nothing; the server would see to it as well.
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", () => {
    setTimeout(() => {
      for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = true;
    });
  });
}
// A page that comes back from the browser's memory is whole again.
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form[data-once] button")) button.disabled = false;
});

// Parts that move are read again while somebody looks at them. What is being written stays.
const EVERY_MS = 5000;
const live = () => [...document.querySelectorAll(".live")];

async function look() {
  if (document.visibilityState !== "visible") return true;
  const answer = await fetch(location.href, { redirect: "error", credentials: "same-origin" });
  if (!answer.ok) return answer.status === 429 || answer.status === 503;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const now = [...page.querySelectorAll(".live")];
  const before = live();
  if (now.length !== before.length) return true;
  before.forEach((part, at) => {
    if (part.innerHTML !== now[at].innerHTML && !part.contains(document.activeElement)) {
      part.replaceWith(now[at]);
    }
  });
  return true;
}

function lookLater() {
  setTimeout(() => {
    look().catch(() => true).then((goesOn) => { if (goesOn) lookLater(); });
  }, EVERY_MS);
}
if (live().length > 0) lookLater();
