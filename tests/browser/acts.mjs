// Opens every page of a console and carries out every order that it offers, and prints, as JSON, what was wrong:
// node acts.mjs ADDRESS CHROMIUM TOKEN

import { DESKTOP, begin, until } from "./stretches.mjs";

const [address, program, token] = process.argv.slice(2);
const PAGES = [
  "/", "/?period=24h", "/?period=30d", "/queues", "/jobs", "/jobs?state=queued&page=2", "/jobs?state=running", "/jobs?state=scheduled",
  "/jobs?state=retry", "/jobs?state=dead&q=error:declined", "/job?id=dead-0", "/job?id=run-0", "/workers", "/handlers", "/handlers?period=30d",
  "/history", "/cron", "/errors", "/audit", "/pipelines", "/pipelines?status=failed", "/pipeline?id=pipe-1",
];

async function signIn(page) {
  await page.goto(`${address}/login`);
  await page.fill("#token", token);
  await page.click("button.first");
  await page.waitForSelector(".counters");
}

const { found, stretch, end } = await begin(address, program, signIn);

/** Click through a question to the notice of what was done. */
async function order(page, button, told, { sure = false } = {}) {
  await page.click(button);
  if (sure) {
    await page.waitForSelector("#question");
    await page.click("#question button.first");
  }
  await until(page, ".notice", told);
}

/** Choose the first jobs of a list. */
async function choose(page, path, count) {
  await page.goto(address + path);
  const boxes = await page.$$("#live input[name=id]");
  for (const box of boxes.slice(0, count)) await box.check();
  await until(page, "[data-chosen]", `${count} chosen`);
}

const api = (path, body) =>
  fetch(`${address}/api/v1${path}`, {
    method: body ? "POST" : "GET", body: body && JSON.stringify(body), headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
  }).then((answer) => answer.json());

for (const path of PAGES) {
  await stretch(path, DESKTOP, async (page, problems) => {
    const answer = await page.goto(address + path);
    if (answer.status() !== 200) problems.push(`status ${answer.status()}`);
    if (!(await page.textContent("h1")).trim()) problems.push("it has no headline");
    const again = page.waitForResponse((response) => response.request().headers()["hx-request"] === "true");
    await page.keyboard.press("u");
    if ((await again).status() !== 200) problems.push(`asked again, status ${(await again).status()}`);
  });
}

await stretch("an open page shows a change", DESKTOP, async (page) => {
  await page.goto(`${address}/`);
  const before = Number(await page.textContent(".counters .dead .figure"));
  const begun = performance.now();
  await api("/jobs", { state: "dead", act: "requeue", ids: ["dead-9"] });
  await until(page, ".counters .dead .figure", String(before - 1));
  console.error(`an open page showed a change after ${Math.round(performance.now() - begun)} ms`);
});

await stretch("charts tell the point under the pointer", DESKTOP, async (page, problems) => {
  await page.goto(`${address}/`);
  await page.hover("svg.chart");
  await until(page, "figure.chart output", " done, ");
  await page.hover("h1");
  await page.waitForFunction(() => document.querySelector("figure.chart output").hidden);
  for (const period of ["24h", "30d", "1h"]) {
    await page.click(`.periods a:text-is("${period}")`);
    await page.waitForURL(`**period=${period}`);
    if (!(await page.$("svg.chart"))) problems.push(`${period} has no chart`);
  }
});

await stretch("a queue is paused, resumed and purged", DESKTOP, async (page) => {
  await page.goto(`${address}/queues`);
  const label = await page.getAttribute('button[value="pause"]', "aria-label");
  const queue = label.replace("Pause ", "");
  await order(page, `button[aria-label="Pause ${queue}"]`, `paused ${queue}`);
  await order(page, `button[aria-label="Resume ${queue}"]`, `resumed ${queue}`);
  await order(page, `button[aria-label="Purge ${queue}"]`, `purged ${queue}`, { sure: true });
});

for (const [state, act, told, sure] of [
  ["dead", "requeue", "queued 2 dead jobs", false],
  ["dead", "delete", "deleted 2 dead jobs", true],
  ["retry", "requeue", "queued 2 retry jobs", false],
  ["retry", "delete", "deleted 2 retry jobs", true],
  ["scheduled", "requeue", "queued 2 scheduled jobs", false],
  ["scheduled", "delete", "deleted 2 scheduled jobs", true],
  ["queued", "cancel", "cancelled 2 queued jobs", true],
  ["running", "cancel", "cancelled 2 running jobs", true],
]) {
  await stretch(`chosen ${state} jobs: ${act}`, DESKTOP, async (page) => {
    await choose(page, `/jobs?state=${state}`, 2);
    await order(page, `.bar-acts button[value="${act}"]`, told, { sure });
  });
}

for (const [state, act, done] of [["scheduled", "requeue", "queued"], ["retry", "delete", "deleted"]]) {
  await stretch(`all ${state} jobs: ${act}, after their number was told`, DESKTOP, async (page, problems) => {
    const { [state]: count } = await api("/counts");
    await page.goto(`${address}/jobs?state=${state}`);
    await page.click(`.under button[value="${act}"]`);
    if (!(await page.textContent("#question")).includes(`all ${count} ${state} jobs`)) problems.push("it does not say how many");
    await page.click("#question button.first");
    await until(page, ".notice", `${done} ${count} ${state} jobs`);
  });
}

await stretch("all that a search finds, after their number was told", DESKTOP, async (page, problems) => {
  await page.goto(`${address}/jobs?state=dead`);
  await page.fill("#q", "error:heic");
  await page.keyboard.press("Enter");
  await page.waitForURL("**q=error**");
  await page.click('.under button[value="requeue"]');
  if (!(await page.textContent("#question")).includes("Queue 4 dead jobs")) problems.push("it does not say how many");
  await page.click("#question button.first");
  await until(page, ".notice", "queued 4 dead jobs");
  await page.click("text=Clear");
  await page.waitForURL("**/jobs?state=dead");
});

await stretch("all waiting jobs that a search finds are cancelled, after their number was told", DESKTOP, async (page) => {
  await page.goto(`${address}/jobs?state=queued&q=handler:send_newsletter+args.locale:fr`);
  await order(page, '.under button[value="cancel"]', "cancelled 104 queued jobs", { sure: true });
});

await stretch("lists are paged through", DESKTOP, async (page) => {
  await page.goto(`${address}/jobs?state=queued`);
  await page.click("text=Next →");
  await until(page, ".pager", "page 2 of");
  await page.click("text=← Previous");
  await until(page, ".pager", "page 1 of");
});

await stretch("a job is copied, retried and deleted from its own page", DESKTOP, async (page, problems) => {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.goto(`${address}/job?id=dead-0`);
  for (const [kind, begun] of [["cli", "worksong enqueue charge_card"], ["python", "worker.perform(Job("]]) {
    await page.click(`[data-copy="as-${kind}"]`);
    await page.waitForFunction((text) => navigator.clipboard.readText().then((copied) => copied.includes(text)), begun);
    if ((await page.evaluate(() => navigator.clipboard.readText())).includes("4111")) problems.push("a secret was copied");
  }
  for (const summary of await page.$$(".tries summary")) await summary.click();
  await until(page, ".tries li:nth-child(2)", "the bank says no, try 3");
  await order(page, 'button[value="requeue"]', "queued 1 dead job");
  await page.goto(`${address}/job?id=dead-5`);
  await order(page, 'button[value="delete"]', "deleted 1 dead job", { sure: true });
});

await stretch("workers are told to go quiet, and to end", DESKTOP, async (page) => {
  await page.goto(`${address}/workers`);
  await order(page, 'button[aria-label="Quiet web-1 4711"]', "quiet", { sure: true });
  await until(page, "main", "going quiet");
  await order(page, 'button[aria-label="Dismiss web-2 902"]', "end", { sure: true });
  await until(page, "main", "ending");
});

await stretch("a periodic job is run, paused and resumed", DESKTOP, async (page) => {
  await page.goto(`${address}/cron`);
  await order(page, 'button[aria-label="Run now: sync_stock"]', "queued sync_stock", { sure: true });
  await order(page, 'button[aria-label^="Pause the schedule"][aria-label$="sync_stock"]', "paused sync_stock");
  await order(page, 'button[aria-label^="Resume the schedule"][aria-label$="sync_stock"]', "resumed sync_stock");
});

await stretch("a group of failing jobs is retried at a pace, stopped, and deleted", DESKTOP, async (page) => {
  await page.goto(`${address}/errors`);
  await page.fill('input[aria-label*="charge_card"]', "2");
  await order(page, 'button[aria-label="Retry the dead jobs of charge_card with this error"]', "2 a minute", { sure: true });
  await order(page, 'button[aria-label="Queue no more jobs of charge_card"]', "stopped queueing charge_card");
  await order(page, 'button[aria-label="Delete the dead jobs of charge_card with this error"]', "deleted", { sure: true });
});

await stretch("what was ordered is on the page Audit", DESKTOP, async (page) => {
  await page.goto(`${address}/audit`);
  for (const told of ["paused", "purged", "deleted 2 dead jobs", "resumed sync_stock"]) await until(page, "main", told);
});

await stretch("somebody signs out, and in again", DESKTOP, async (page, problems) => {
  await page.click("text=sign out");
  await page.waitForURL("**/login");
  await page.goto(`${address}/queues`);
  if (!page.url().endsWith("/login")) problems.push("a page was shown without a token");
  await signIn(page);
});

await end();
console.log(JSON.stringify(found));
