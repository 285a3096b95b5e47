// Administration: a page of its own, so that residents' phones do not load it.

import { account } from "./adminaccount.js";
import { getFrom, reasonOf, remove } from "./adminapi.js";
import { board } from "./adminboard.js";
import { groups } from "./admingroups.js";
import { make } from "./adminparts.js";
import { people } from "./adminpeople.js";
import { records } from "./adminrecords.js";
import { rights } from "./adminrights.js";
import { signInForm, takeLink } from "./adminsignin.js";
import { ADMIN_TEXTS } from "./admintexts.js";
import { byId, setText, show, translate } from "./dom.js";
import { addTexts, chooseLanguage, otherLanguage, text } from "./texts.js";

const VIEWS = [board, people, groups, rights, records, account];
const TOLD_MS = 5000;

class Administration {
  constructor() {
    this.administrator = "";
    this.isSetUp = true;
    this.link = takeLink();
    this.view = null;
    this.asked = 0;
    byId("language").onclick = () => { otherLanguage(); this.redraw(); };
    byId("sign-out").onclick = () => this.leave();
    window.addEventListener("hashchange", () => this.moved());
    document.addEventListener("visibilitychange", () => this.refresh());
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

  signIn() {
    this.administrator = "";
    this.view = null;
    this.frame();
    this.put([signInForm(this.link, this.isSetUp, (session) => { this.link = null; this.enter(session); })]);
    (byId("view").querySelector("input") ?? byId("view").querySelector("h1"))?.focus();
  }

  enter(session) {
    this.administrator = session.administrator.name;
    this.isSetUp = true;
    this.reload();
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
      this.told = told;
      this.redraw();
      if (isNew) byId("title").focus();
    } catch (error) {
      if (asked === this.asked) this.fail(error, () => this.reload());
    }
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
      this.told = told;
      view.refresh(told);
      setText(byId("stale"), "");
    } catch (error) {
      if (error.status === 401) this.signIn();
      else setText(byId("stale"), reasonOf(error));
    }
  }

  redraw() {
    const { key } = document.activeElement?.dataset ?? {};
    this.frame();
    if (!this.view && byId("view").querySelector(".gate")) this.signIn();
    if (!this.view || !this.told) return;
    this.put(this.view.draw(this.told, this));
    if (key) Array.from(document.querySelectorAll("#view [data-key]")).find((one) => one.dataset.key === key && one.tabIndex >= 0)?.focus();
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
    byId("view").replaceChildren(...elements.flat().filter(Boolean));
  }

  // ------------------------------------------------------------------------------------------------ what is changed

  // Do it, say so if there is something to say, and show how things are now, unless the view `stays`.
  async carryOut(act, { told, stays = false } = {}) {
    try {
      await act();
      if (told) this.tell(told);
    } catch (error) {
      if (error.status === 401) this.signIn();
      this.tell(reasonOf(error));
      return;
    }
    if (!stays) await this.reload();
  }

  fail(error, retry) {
    if (error.status === 401) {
      this.signIn();
      return;
    }
    const again = make("button", { type: "button", class: "wide go", onclick: retry }, text("error.retry"));
    this.put([make("div", { class: "card padded" }, make("p", { class: "problem", role: "alert" }, reasonOf(error)), again)]);
  }

  tell(words) {
    setText(byId("toast-text"), words);
    show(byId("toast"), true);
    clearTimeout(this.telling);
    this.telling = setTimeout(() => show(byId("toast"), false), TOLD_MS);
  }
}

addTexts(ADMIN_TEXTS);
chooseLanguage();
new Administration().start();
