// Walks through a console in Chromium and prints, as JSON, what was wrong on each stretch: node walk.mjs ADDRESS CHROMIUM PICTURES

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { DESKTOP, begin, until } from "./stretches.mjs";

const [address, program, pictures] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PAGES = {
  overview: "/", queues: "/queues", queued: "/jobs?state=queued", running: "/jobs?state=running", dead: "/jobs?state=dead",
  job: "/job?id=dead-0", "running-job": "/job?id=run-0", workers: "/workers", cron: "/cron", handlers: "/handlers",
  day: "/?period=24h", month: "/?period=30d", history: "/history", errors: "/errors", audit: "/audit", pipelines: "/pipelines", pipeline: "/pipeline?id=pipe-1", login: "/login",
};
const SHAPES = [
  ["light", DESKTOP],
  ["dark", { colorScheme: "dark", viewport: { width: 1360, height: 860 } }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 } }],
];

const { found, stretch, end } = await begin(address, program);

for (const [tag, shape] of SHAPES) {
  for (const [name, path] of Object.entries(PAGES)) {
    await stretch(`${name}, ${tag}`, shape, async (page, problems) => {
      await page.goto(address + path);
      await page.screenshot({ path: `${pictures}/${name}-${tag}.png` });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) problems.push(`${wide} pixels too wide`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      for (const each of violations) problems.push(`${each.id}: ${each.nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
    });
  }
}

const light = DESKTOP;
const figure = (state) => `.counters .${state} .figure`;

await stretch("a page that is open follows the jobs", light, async (page) => {
  await page.goto(address + "/");
  const before = Number(await page.textContent(figure("dead")));
  await page.evaluate(() => (window.untouched = true));
  const body = JSON.stringify({ state: "dead", act: "requeue", ids: ["dead-9"] });
  await fetch(`${address}/api/v1/jobs`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const begun = performance.now();
  await until(page, figure("dead"), String(before - 1));
  console.error(`an open page showed a change after ${Math.round(performance.now() - begun)} ms`);
  if (!(await page.evaluate(() => window.untouched))) throw new Error("the page was loaded anew");
});

await stretch("a page that is told does not ask by the clock", light, async (page, problems) => {
  let asked = 0;
  page.on("request", (request) => (asked += request.headers()["hx-request"] === "true" ? 1 : 0));
  const told = page.waitForResponse((response) => response.url().endsWith("/changes"));
  await page.goto(address + "/queues");
  await told;
  await page.waitForFunction(() => document.querySelector("#pulse").textContent === "live");
  await page.click("#pulse");
  await page.waitForFunction(() => document.querySelector("#pulse").textContent === "still");
  const before = asked;
  await fetch(`${address}/api/v1/queues`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ queue: "images", act: "pause" }) });
  await page.click("#pulse");
  await page.waitForSelector('button[aria-label="Resume images"]');
  if (asked === before) problems.push("it did not look");
});

await stretch("what was opened stays open when the page is written anew", light, async (page, problems) => {
  await page.goto(address + "/job?id=dead-0");
  await page.click(".tries li:first-child summary");
  const again = page.waitForResponse((response) => response.request().headers()["hx-request"] === "true");
  await page.keyboard.press("u");
  await again;
  await page.evaluate(() => new Promise((settled) => requestAnimationFrame(() => setTimeout(settled, 0))));
  if (!(await page.$(".tries li:first-child details[open]"))) problems.push("it was closed");
});

await stretch("keys lead through the pages", light, async (page, problems) => {
  await page.goto(address + "/");
  // Both at once: the second one counts for a moment only, and a machine may be busy between them.
  const pressed = (keys) => keys.forEach((key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })));
  await page.evaluate(pressed, ["g", "j"]);
  await page.waitForURL("**/jobs");
  await page.keyboard.press("/");
  if ((await page.evaluate(() => document.activeElement.id)) !== "q") problems.push("/ does not search");
  await page.keyboard.type("state:dead handler:charge_card");
  await page.keyboard.press("Enter");
  await page.waitForURL("**q=state**");
  await page.keyboard.press("?");
  await page.waitForSelector("dialog[open]");
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  problems.push(...violations.map((each) => each.id));
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog:not([open])", { state: "attached" });
  await page.keyboard.press("n");
  await page.keyboard.press("x");
  await until(page, "[data-chosen]", "1 chosen");
});

await stretch("the search suggests how its last word goes on", light, async (page, problems) => {
  await page.goto(address + "/jobs?state=dead");
  const suggested = () => page.evaluate(() => [...document.querySelector("#hints").options].map((option) => option.value));
  await page.focus("#q");
  if (!(await suggested()).includes("handler:")) problems.push("it does not suggest qualifiers");
  await page.keyboard.type("state:dead h");
  if (!(await suggested()).includes("state:dead handler:")) problems.push("it does not suggest a second word");
  await page.keyboard.type('andler:x error:"timed o');
  if (!(await suggested()).every((text) => text.startsWith("state:dead handler:x "))) problems.push("it suggests within quotes");
});

await stretch("chosen jobs are deleted after a question", light, async (page, problems) => {
  await page.goto(address + "/jobs?state=dead");
  await page.check('input[value="dead-1"]');
  await page.check('input[value="dead-2"]');
  await until(page, "[data-chosen]", "2 chosen");
  await page.click('.bar-acts button[value="delete"]');
  await until(page, "main", "Delete 2 dead jobs?");
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  problems.push(...violations.map((each) => each.id));
  await page.click("text=Yes");
  await until(page, ".notice", "deleted 2 dead jobs");
  if (await page.$('input[value="dead-1"]')) problems.push("it is still there");
});

await stretch("light and dark are chosen and kept", light, async (page, problems) => {
  await page.goto(address + "/");
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await ground();
  await page.keyboard.press("t");
  if ((await ground()) === before) problems.push("t changes nothing");
  const after = await ground();
  await page.goto(address + "/queues");
  if ((await ground()) !== after) problems.push("it is not kept");
});

await stretch("everything is read and done without JavaScript", { ...light, javaScriptEnabled: false }, async (page) => {
  await page.goto(address + "/queues");
  await page.click('button[aria-label="Pause default"]');
  await page.waitForSelector('button[aria-label="Resume default"]');
  await page.goto(address + "/jobs?state=dead");
  await page.check('input[value="dead-3"]');
  await page.click('.bar-acts button[value="requeue"]');
  await page.waitForSelector(".notice");
});

await end();
console.log(JSON.stringify(found));
