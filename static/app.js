(() => {
"use strict";
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const within = (root, selector) => (root.matches?.(selector) ? [root] : []).concat(all(selector, root));
const words = JSON.parse(document.body.dataset.words ?? "{}"); // in the reader's language
const shown = (el) => el && el.getClientRects().length > 0;
const HIDDEN = 60_000, LOST = 10_000, SLOWEST = 30_000;
class Stream {
constructor(url) {
this.url = url;
this.listeners = [];
this.wait = 1000;
this.connect();
document.addEventListener("visibilitychange", () => this.look());
addEventListener("pagehide", () => this.source.close());
addEventListener("pageshow", (e) => e.persisted && this.connect());
}
connect() {
if (this.done) return;
clearTimeout(this.retry);
this.source = new EventSource(this.url);
for (const [type, fn] of this.listeners) this.source.addEventListener(type, fn);
this.source.onopen = () => this.opened();
this.source.onerror = () => this.failed();
}
opened() {
clearTimeout(this.lost);
this.lost = undefined;
this.wait = 1000;
for (const word of all("[data-live-word]")) word.hidden = false;
document.documentElement.dataset.stream = "open";
if (this.missed) for (const [type, fn] of [...this.listeners]) fn(new MessageEvent(type));
this.missed = false;
}
failed() {
this.missed = true;
delete document.documentElement.dataset.stream;
this.lost ??= setTimeout(paused, LOST);
if (this.source.readyState !== EventSource.CLOSED) return; // it tries again by itself
this.retry = setTimeout(() => this.connect(), this.wait);
this.wait = Math.min(this.wait * 2, SLOWEST);
}
look() {
clearTimeout(this.sleep);
if (document.hidden) {
this.sleep = setTimeout(() => {
this.missed = true;
this.source.close();
}, HIDDEN);
} else if (this.source.readyState === EventSource.CLOSED) {
this.connect();
}
}
addEventListener(type, fn) {
this.listeners.push([type, fn]);
this.source.addEventListener(type, fn);
}
removeEventListener(type, fn) {
this.listeners = this.listeners.filter(([t, f]) => t !== type || f !== fn);
this.source.removeEventListener(type, fn);
}
close() {
this.done = true;
this.source.close();
}
}
if (window.htmx) htmx.createEventSource = (url) => new Stream(url);
function paused() {
for (const el of all("[data-live]")) {
const reload = document.createElement("a");
reload.className = "link";
reload.href = location.href;
reload.textContent = words.reload;
el.replaceChildren(words.paused.replace("HH:MM", el.dataset.live) + " · ", reload);
}
}
const typing = (el) => el.closest?.("input:not([type=checkbox],[type=radio],[type=button],[type=submit]), textarea, select, [contenteditable]");
const single = () => localStorage.getItem("keys") !== "off";
const go = (path) => one(`#nav a[href="${path}"]`)?.click();
let prefix = 0; // when g was pressed
document.addEventListener("keydown", (e) => {
if (e.isComposing || e.altKey || paletteKey(e)) return;
if ((e.ctrlKey || e.metaKey) && e.key === "k") {
e.preventDefault();
return search();
}
if (e.metaKey) return;
if (e.ctrlKey) {
const form = e.key === "Enter" && e.target.closest("form[data-send]");
if (form) form.requestSubmit();
return;
}
if (e.key === "Escape") return closeMenus(null, true);
if (typing(e.target)) return;
if (treeKey(e) || listEnter(e)) return e.preventDefault();
if (!single() || e.defaultPrevented) return;
if (Date.now() - prefix < 1500) {
prefix = 0;
const path = { h: "/", e: "/explorer", a: "/approvals" }[e.key];
if (path) return go(path);
}
const act = { "/": search, "?": () => one("#keys")?.togglePopover(), g: () => (prefix = Date.now()), j: () => move(1), k: () => move(-1), x: select }[e.key];
const own = act ? null : all("[data-key]").find((el) => el.dataset.key === e.key && shown(el));
if (!act && !own) return;
e.preventDefault();
if (act) act(e);
else if (own.matches("a")) own.click();
else own.focus();
});
const palette = one("#palette"), query = one("#palette-q");
function search() {
if (!palette) return location.assign("/search");
if (palette.open) return palette.close();
palette.showModal();
query.select();
query.dispatchEvent(new Event("palette-open"));
}
function choose(entry) {
for (const el of all("[role=option]", palette)) el.setAttribute("aria-selected", el === entry);
if (entry) query.setAttribute("aria-activedescendant", entry.id);
else query.removeAttribute("aria-activedescendant");
entry?.scrollIntoView({ block: "nearest" });
}
const hits = () => all("a[role=option]", palette);
const chosen = (entry) => entry.getAttribute("aria-selected") === "true";
function paletteKey(e) {
if (!palette?.open) return false;
const list = hits(), at = list.findIndex(chosen), step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
if (!step && e.key !== "Escape") return !e.ctrlKey && !e.metaKey;
e.preventDefault();
if (!step) palette.close(); // at once: a search field would first be emptied
else if (list.length) choose(list[(at + step + list.length) % list.length]);
return true;
}
palette?.addEventListener("submit", (e) => {
const list = hits(), entry = list.find(chosen) ?? list[0];
if (!entry) return;
e.preventDefault();
entry.click();
});
palette?.addEventListener("click", (e) => e.target === palette && palette.close());
const keysOn = one("#keys-on");
if (keysOn) {
keysOn.checked = single();
keysOn.addEventListener("change", () => localStorage.setItem("keys", keysOn.checked ? "on" : "off"));
}
const rows = () => all("table[data-list] tbody tr").filter(shown);
const cursor = () => one("table[data-list] tr.cursor");
function move(step) {
const list = rows();
if (!list.length) return;
const at = list.indexOf(cursor());
const next = list[Math.min(Math.max(at + step, 0), list.length - 1)];
for (const row of list) row.classList.toggle("cursor", row === next);
one("a, input", next)?.focus({ preventScroll: true });
next.scrollIntoView({ block: "nearest" });
}
function select() {
one("input[type=checkbox]", cursor() ?? document.createElement("tr"))?.click();
}
function listEnter(e) {
const link = e.key === "Enter" && e.target.matches("input[type=checkbox]") && cursor()?.contains(e.target) && one("a", cursor());
if (link) link.click();
return Boolean(link);
}
const treeRows = () => all("#tree [role=row][aria-level]");
const treeRow = (el) => el.closest?.("#tree [role=row][aria-level]");
const level = (row) => Number(row.getAttribute("aria-level"));
let stop;
function rove(row) {
if (stop) stop.tabIndex = -1;
stop = row;
row.tabIndex = 0;
}
function startTree(root) {
for (const row of within(root, "[role=row][aria-level]")) {
row.tabIndex = -1;
for (const link of all("a", row)) link.tabIndex = -1;
}
if (stop?.isConnected) return;
const row = (stop?.id && document.getElementById(stop.id)) || one('#tree [aria-selected="true"]') || treeRows()[0];
if (row) rove(row);
}
document.addEventListener("focusin", (e) => {
const row = treeRow(e.target);
if (row) rove(row);
});
const TYPING = 700;
let typed = "", typedAt = 0;
function typeAhead(key, list, at) {
typed = Date.now() - typedAt < TYPING ? typed + key : key;
typedAt = Date.now();
const again = typed.replaceAll(typed[0], "") === "", text = again ? typed[0] : typed;
const starts = (row) => one(".tn", row)?.textContent.trim().toLowerCase().startsWith(text);
const from = again ? at + 1 : at; // a longer beginning may still fit where we are
return [...list.slice(from), ...list.slice(0, from)].find(starts);
}
function treeKey(e) {
const row = treeRow(e.target);
if (!row || row !== e.target) return false;
const list = treeRows(), at = list.indexOf(row), open = row.getAttribute("aria-expanded");
const focus = (to) => (to && to.focus(), true);
switch (e.key) {
case "ArrowDown": return focus(list[at + 1]);
case "ArrowUp": return focus(list[at - 1]);
case "Home": return focus(list[0]);
case "End": return focus(list.at(-1));
case "ArrowRight":
if (open === "false") one(".tg", row).click();
else if (open === "true" && list[at + 1] && level(list[at + 1]) > level(row)) list[at + 1].focus();
return true;
case "ArrowLeft":
if (open === "true") one(".tg", row).click();
else focus(list.slice(0, at).findLast((r) => level(r) < level(row)));
return true;
case "Enter": {
const link = one("a.tn", row) ?? one("a", row);
if (link && !link.matches("[hx-get]")) sessionStorage.setItem("tree", "focus");
link?.click();
return true;
}
}
if (!/^[a-z0-9-]$/i.test(e.key)) return false;
return focus(typeAhead(e.key.toLowerCase(), list, at));
}
for (const type of ["click", "auxclick"]) {
document.addEventListener(type, (e) => {
const link = e.target.closest?.("#tree a.tn:not([hx-get])");
if (link) link.search = new URLSearchParams([...new FormData(one("#tree-filter"))].filter(([, value]) => value));
});
}
let stale = false;
const redraw = () => setTimeout(() => stale && one("#tree") && htmx.trigger("#tree", "sse:tree"), TYPING);
document.addEventListener("sse:tree", () => (stale = true));
document.addEventListener("htmx:sendAbort", redraw);
document.addEventListener("htmx:afterRequest", ({ detail }) => {
if (detail.elt.id !== "tree") stale && redraw();
else if (detail.successful) stale = false;
});
function anchor(pane) {
const top = pane.getBoundingClientRect().top, seen = (row) => row.getBoundingClientRect().bottom > top;
const focused = treeRow(document.activeElement), row = focused ?? treeRows().find(seen);
const at = row?.getBoundingClientRect().top;
return () => {
const now = row && document.getElementById(row.id);
if (now) pane.scrollTop += now.getBoundingClientRect().top - at;
};
}
addEventListener("pagehide", () => {
for (const el of all("[data-keep-scroll]")) sessionStorage.setItem("scroll-" + el.id, el.scrollTop);
});
function restoreTree() {
for (const el of all("[data-keep-scroll]")) el.scrollTop = sessionStorage.getItem("scroll-" + el.id) ?? 0;
const row = one('#tree [aria-selected="true"]');
if (shown(row)) row.scrollIntoView({ block: "nearest" });
if (sessionStorage.getItem("tree")) row?.focus({ preventScroll: true });
sessionStorage.removeItem("tree");
}
function closeMenus(except, refocus) {
for (const menu of all("details.menu[open]")) {
if (menu === except) continue;
if (refocus && menu.contains(document.activeElement)) one("summary", menu).focus();
menu.open = false;
}
}
document.addEventListener("click", (e) => {
closeMenus(e.target.closest("details.menu"));
const copy = e.target.closest("[data-copy]");
if (copy) copyText(copy);
e.target.closest("[data-close]")?.closest(".toast").remove();
});
async function copyText(button) {
const from = document.getElementById(button.dataset.copy), word = one("[data-copy-word]", button);
try {
await navigator.clipboard.writeText(from.value ?? from.textContent);
word.textContent = words.copied;
} catch {
getSelection().selectAllChildren(from);
word.textContent = words.selected;
}
setTimeout(() => (word.textContent = words.copy), 2000);
}
const toasts = one("#toasts");
if (toasts) {
new MutationObserver((changes) => {
for (const { addedNodes } of changes) for (const el of addedNodes) if (el.nodeType === 1) fade(el);
}).observe(toasts, { childList: true });
for (const el of all("[data-flash=ok], [data-flash=busy]")) toast(el);
}
function fade(el) {
if (el.dataset.kind === "bad" || el.dataset.kind === "warn") return;
let timer;
const start = () => (timer = setTimeout(() => el.remove(), 8000));
const stop = () => clearTimeout(timer);
el.addEventListener("pointerenter", stop);
el.addEventListener("pointerleave", start);
el.addEventListener("focusin", stop);
el.addEventListener("focusout", start);
start();
}
function toast(flash) {
const close = document.createElement("button");
close.type = "button";
close.className = "text-subtle p-1 -m-1";
close.setAttribute("aria-label", words.close);
close.dataset.close = "";
const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), use = document.createElementNS(svg.namespaceURI, "use");
svg.setAttribute("class", "i i-sm");
svg.setAttribute("aria-hidden", "true");
use.setAttribute("href", "#i-x");
svg.append(use);
close.append(svg);
const box = document.createElement("div");
box.className = "toast";
box.dataset.kind = flash.dataset.flash;
const icon = document.createElement("span");
icon.className = `mt-0.5 text-${flash.dataset.flash}`;
const banner = one(".banner", flash);
icon.append(banner.firstElementChild);
box.append(icon, ...banner.children, close);
flash.remove();
toasts.append(box);
}
document.addEventListener("submit", (e) => {
const form = e.target;
if (form.method !== "post" || form.matches("[hx-post]")) return;
if (form.dataset.sent) return e.preventDefault();
form.dataset.sent = "1";
e.submitter?.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => {
for (const form of all("form[data-sent]")) delete form.dataset.sent;
for (const button of all("button[aria-busy]")) button.removeAttribute("aria-busy");
});
let asked = 0;
document.addEventListener("change", async (e) => {
const form = e.target.form;
if (!form?.matches("[data-check]") || !e.target.id) return;
e.target.dataset.touched = "";
const turn = ++asked;
let page;
try {
const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "Dry-Run": "All" }, redirect: "error" });
page = new DOMParser().parseFromString(await answer.text(), "text/html");
} catch {
return; // sending it will tell
}
if (turn !== asked) return;
for (const field of all("[data-touched], [aria-invalid]", form)) judge(field, page.getElementById(field.id));
});
function judge(field, now) {
if (!now) return;
const text = (root) => root.getElementById(field.id + "-error") ?? root.getElementById(field.id + "-hint");
const was = text(document), is = text(now.ownerDocument);
if (is?.classList.contains("err")) is.setAttribute("role", "status");
if (was && is) was.replaceWith(is);
else if (is) field.after(is);
else was?.remove();
for (const name of ["aria-invalid", "aria-describedby"]) {
if (now.hasAttribute(name)) field.setAttribute(name, now.getAttribute(name));
else field.removeAttribute(name);
}
}
const draftKey = () => `draft ${document.body.dataset.user} ` + location.pathname + location.search;
const draftFields = (form) => [...form.elements].filter((el) => el.name && !el.matches("[type=hidden], [type=password], [type=file], [data-secret], [readonly], button"));
const answers = (form) => draftFields(form).map((el) => (el.matches("[type=radio], [type=checkbox]") ? el.checked : el.value));
const dirty = new Set();
function startDraft(form) {
const offer = one("[data-draft-offer]", form), key = draftKey(), first = JSON.stringify(answers(form));
const kept = localStorage.getItem(key);
if (kept && kept !== first && !one("#errors", form)) offer.hidden = false;
const save = () => {
const now = JSON.stringify(answers(form));
if (now === first) dirty.delete(form);
else dirty.add(form);
if (offer.hidden) localStorage.setItem(key, now);
};
form.addEventListener("input", save);
one("[data-draft-use]", offer).addEventListener("click", () => {
const values = JSON.parse(kept);
for (const [i, el] of draftFields(form).entries()) {
if (typeof values[i] === "boolean") el.checked = values[i];
else el.value = values[i] ?? el.value;
}
offer.hidden = true;
save();
const field = draftFields(form)[0];
field.focus();
field.dispatchEvent(new Event("change", { bubbles: true }));
});
one("[data-draft-drop]", offer).addEventListener("click", () => {
localStorage.removeItem(key);
offer.hidden = true;
draftFields(form)[0].focus();
});
}
for (const form of all("form[data-draft]")) startDraft(form);
addEventListener("beforeunload", (e) => dirty.size && e.preventDefault());
document.addEventListener("submit", (e) => {
if (e.target.matches("[data-draft]")) {
dirty.clear();
sessionStorage.setItem("sent", draftKey());
}
if (e.target.matches('[action^="/logout"]')) {
for (const key of Object.keys(localStorage)) if (key.startsWith("draft ")) localStorage.removeItem(key);
}
});
if (sessionStorage.getItem("sent") && !one("#errors")) localStorage.removeItem(sessionStorage.getItem("sent"));
sessionStorage.removeItem("sent");
const kept = new WeakMap();
const states = (root) => new Map(within(root, "[id]").map((el) => [el.id, one(".st", el)?.textContent.trim()]));
const controls = (root) => within(root, "a, button, input, select, textarea, summary, [tabindex]");
const named = (el) => [el.tagName, el.id, el.getAttribute("href"), el.name, el.type === "text" ? "" : el.value, el.getAttribute("aria-label")].join(" ");
document.addEventListener("htmx:beforeSwap", (e) => {
const { target: root, xhr, isError, requestConfig } = e.detail, active = document.activeElement;
if (isError && requestConfig.triggeringEvent?.type.startsWith("sse:")) e.detail.shouldSwap = false;
const inTree = root.closest("#tree");
const holder = root.contains(active) ? active.closest("[id]") : null;
kept.set(xhr, {
holder: holder?.id,
at: holder ? controls(holder).indexOf(active) : -1,
name: named(active),
open: all("details[open][id]", root).map((d) => d.id),
states: states(root),
before: root.matches(".tm") && holder && treeRows()[treeRows().indexOf(one("[role=row]", root)) - 1],
stay: inTree && !root.matches(".tm") && anchor(inTree.closest("[data-keep-scroll]")),
});
});
function refocus(was, settled) {
const holder = was?.holder && document.getElementById(was.holder);
if (!holder || document.activeElement !== document.body) return;
const list = controls(holder), same = list.find((el) => named(el) === was.name);
(same ?? (settled ? list[was.at] : null))?.focus({ preventScroll: true });
}
document.addEventListener("htmx:afterSwap", (e) => {
const was = kept.get(e.detail.xhr);
refocus(was, false);
if (was?.stay) was.stay(); // at once: who scrolls meanwhile is not thrown back
});
document.addEventListener("htmx:afterSettle", (e) => {
const was = kept.get(e.detail.xhr);
if (!was) return;
refocus(was, true);
if (was.before) treeRows()[treeRows().indexOf(was.before) + 1]?.focus({ preventScroll: true });
for (const id of was.open) if (document.getElementById(id)) document.getElementById(id).open = true;
for (const [id, text] of states(e.target)) {
if (was.states.get(id) === undefined || was.states.get(id) === text) continue;
const el = document.getElementById(id);
if (el.matches("tr, #tree [role=row], #vm-status")) el.classList.add("changed");
}
});
function enhance(root) {
if (root.id === "palette-hits") choose(one("a[role=option]", root));
for (const el of within(root, "[data-copy], [data-needs-keys]")) el.hidden = false;
if (document.documentElement.dataset.stream) for (const word of within(root, "[data-live-word]")) word.hidden = false;
if (root === document.body || root.closest("#tree")) startTree(root);
within(root, "#errors")[0]?.focus();
}
document.addEventListener("htmx:load", (e) => e.target !== document.body && enhance(e.target));
enhance(document.body);
restoreTree();
})();
