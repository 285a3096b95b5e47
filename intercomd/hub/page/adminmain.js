// Administration: a page of its own, so that residents' phones do not load it.

import { account } from "./adminaccount.js";
import { SESSION_ENDED, getFrom, reasonOf, remove } from "./adminapi.js";
import { board } from "./adminboard.js";
import { closeDialogs } from "./admindialog.js";
import { groups } from "./admingroups.js";
import { make } from "./adminparts.js";
import { people } from "./adminpeople.js";
import { records } from "./adminrecords.js";
import { rights } from "./adminrights.js";
import { signInForm, takeLink } from "./adminsignin.js";
import { ADMIN_TEXTS } from "./admintexts.js";
import { byId, setText, show, translate } from "./dom.js";
import { addTexts, chooseLanguage, otherLanguage, text, timeOfDay } from "./texts.js";

const VIEWS = [board, people, groups, rights, records, account];
const TOLD_MS = 5000;

class Administration {
  constructor() {
    this.administrator = "";
    this.isSetUp = true;
    this.link = takeLink();
    this.view = null;
    this.asked = 0;
    this.toldAt = 0;
    this.retry = null;
    byId("language").onclick = () => this.translated();
    byId("sign-out").onclick = () => this.leave();
    window.addEventListener("hashchange", () => this.moved());
    document.addEventListener("visibilitychange", () => this.refresh());
    document.addEventListener(SESSION_ENDED, () => this.ended());
  }

  async start() {
    translate();
    try {
      const session = await getFrom("admin/session");
      this.isSetUp = session.isSetUp;
      if (this.link || !session.administrator) this.signIn();
      else this.enter(session);
    } catch (error) {
      this.fail(error, () => this.start());
    }
  }

  translated() {
    const { retry } = this;
    otherLanguage();
    this.redraw();
    retry?.();
  }

  moved() {
    const link = takeLink();
    if (link) {
      this.link = link;
      this.signIn();
    } else if (this.administrator) {
      this.reload();
    }
  }

  // ------------------------------------------------------------------------------------------------- in and out

  // `why`: what is to be known before; it stays when the language is changed.
  signIn(why = "") {
    this.administrator = "";
    this.view = null;
    this.why = why;
    this.asked += 1;
    clearInterval(this.ticking);
    this.frame();
    const { link, isSetUp } = this;
    const enter = (session) => { this.link = null; this.enter(session); };
    const forget = () => { this.link = null; this.start(); };
    this.put([signInForm({ link, isSetUp, why: why && text(why), enter, forget })]);
    (byId("view").querySelector("input") ?? byId("view").querySelector("h1"))?.focus();
  }

  enter(session) {
    this.administrator = session.administrator.name;
    this.isSetUp = true;
    this.reload();
  }

  ended() {
    if (!this.administrator) return;
    closeDialogs();
    this.signIn("admin.signin.ended");
  }

  async leave() {
    try {
      await remove("admin/session");
      this.signIn();
      this.tell(text("admin.left"));
    } catch (error) {
      this.tell(reasonOf(error));
    }
  }

  // --------------------------------------------------------------------------------------------------- what is seen

  // Load what the address names, and show it. Of two at once the later one counts.
  async reload() {
    this.asked += 1;
    const { asked } = this;
    const wanted = VIEWS.find(({ name }) => `#${name}` === window.location.hash) ?? board;
    const isNew = wanted !== this.view;
    if (isNew) this.waiting(wanted);
    try {
      const told = await wanted.load();
      if (asked !== this.asked) return;
      this.heard(told);
      this.redraw();
      if (isNew) byId("title").focus();
    } catch (error) {
      if (asked === this.asked) this.fail(error, () => this.reload());
    }
  }

  heard(told) {
    this.told = told;
    this.toldAt = Date.now() / 1000;
  }

  waiting(wanted) {
    this.view = wanted;
    this.told = null;
    this.frame();
    this.put([make("p", { class: "none", role: "status" }, text("app.loading"))]);
    clearInterval(this.ticking);
    if (wanted.everySeconds) this.ticking = setInterval(() => this.refresh(), wanted.everySeconds * 1000);
  }

  async refresh() {
    const { view } = this;
    if (!view?.refresh || !this.told || document.visibilityState === "hidden") return;
    try {
      const told = await view.load();
      if (view !== this.view) return;
      this.heard(told);
      view.refresh(told);
      setText(byId("stale"), "");
    } catch (error) {
      const seen = text("admin.stale", { reason: reasonOf(error), time: timeOfDay(this.toldAt) });
      if (view === this.view) setText(byId("stale"), seen);
    }
  }

  redraw() {
    const { key } = document.activeElement?.dataset ?? {};
    this.frame();
    if (!this.view && byId("view").querySelector(".gate")) this.signIn(this.why);
    if (!this.view || !this.told) return;
    this.put(this.view.draw(this.told, this));
    if (!key) return;
    const all = Array.from(document.querySelectorAll("#view [data-key]"));
    // What had the focus may be gone: readers go on at the beginning of the view, not of the page.
    (all.find((one) => one.dataset.key === key && one.tabIndex >= 0) ?? byId("title")).focus();
  }

  frame() {
    translate();
    const name = this.view ? text(`admin.view.${this.view.name}`) : text("admin.name");
    show(byId("places"), Boolean(this.administrator));
    show(byId("sign-out"), Boolean(this.administrator));
    show(byId("who"), Boolean(this.administrator));
    show(byId("title"), Boolean(this.view));
    setText(byId("who"), this.administrator);
    setText(byId("title"), name);
    setText(byId("stale"), "");
    document.title = `${name} · ${text("app.name")}`;
    for (const link of byId("places").querySelectorAll("a")) {
      if (link.hash === `#${this.view?.name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    byId("places").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }

  put(elements) {
    this.retry = null;
    byId("view").replaceChildren(...elements.flat().filter(Boolean));
  }

  // ------------------------------------------------------------------------------------------------ what is changed

  // Do it, say so if there is something to say, and show how things are now, unless the view `stays`.
  async carryOut(act, { told = "", stays = false } = {}) {
    try {
      await act();
    } catch (error) {
      if (error.status !== 401) this.tell(reasonOf(error));
      return;
    }
    if (told) this.tell(told);
    if (!stays) await this.reload();
  }

  // Something has been changed: say so, and show it.
  async changed(told = text("admin.told.saved")) {
    this.tell(told);
    await this.reload();
  }

  fail(error, retry) {
    if (error.status === 401) return;
    const again = make("button", { type: "button", class: "wide go", onclick: retry }, text("error.retry"));
    const problem = make("p", { class: "problem", role: "alert" }, reasonOf(error));
    this.put([make("div", { class: "card padded failed" }, problem, again)]);
    this.retry = retry;
  }

  // Seen for a moment, and read aloud: a region that was hidden until now is not read everywhere.
  tell(words) {
    setText(byId("toast-text"), words);
    setText(byId("said"), words);
    show(byId("toast"), true);
    clearTimeout(this.telling);
    this.telling = setTimeout(() => { show(byId("toast"), false); setText(byId("said"), ""); }, TOLD_MS);
  }
}

addTexts(ADMIN_TEXTS);
chooseLanguage();
new Administration().start();
