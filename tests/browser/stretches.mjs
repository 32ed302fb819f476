// What the walks share: pages in Chromium that note whatever no page of ours may do, stretch by stretch.

import { chromium } from "playwright-core";

export const PATIENCE = 60_000;
export const DESKTOP = { colorScheme: "light", viewport: { width: 1360, height: 860 } };

/** `found` has, by stretch, what was wrong there; `enter` is called with each new page before its stretch. */
export async function begin(address, program, enter = async () => {}) {
  const found = {};
  const { origin } = new URL(address);
  const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });

  async function open(shape, problems) {
    const context = await browser.newContext({ ...shape, reducedMotion: "reduce" });
    await context.addInitScript(() => {
      addEventListener("securitypolicyviolation", (told) => console.error(`forbidden: ${told.violatedDirective} ${told.blockedURI}`), true);
    });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.on("console", (told) => ["error", "warning"].includes(told.type()) && problems.push(`console: ${told.text()}`));
    page.on("pageerror", (error) => problems.push(`error: ${error}`));
    page.on("dialog", (dialog) => (problems.push(`script ran: ${dialog.message()}`), dialog.dismiss()));
    page.on("popup", () => problems.push("a window was opened"));
    page.on("request", (request) => {
      const asked = new URL(request.url());
      if (asked.origin !== origin && asked.protocol !== "data:") problems.push(`left: ${asked}`);
    });
    await enter(page);
    return page;
  }

  async function stretch(name, shape, walk) {
    const problems = (found[name] = []);
    const page = await open(shape, problems);
    try {
      await walk(page, problems);
    } catch (error) {
      problems.push(String(error).slice(0, 500));
    }
    await page.context().close();
  }

  return { found, stretch, end: () => browser.close() };
}

/** Wait until what is there says so. */
export const until = (page, selector, text) =>
  page.waitForFunction(([where, what]) => document.querySelector(where)?.textContent.includes(what), [selector, text], { timeout: PATIENCE });
