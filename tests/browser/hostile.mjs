// Opens pages full of hostile texts in Chromium and prints, as JSON, what any of them did: node hostile.mjs ADDRESS CHROMIUM < PATHS

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [address, program] = process.argv.slice(2);
const paths = JSON.parse(readFileSync(0, "utf8"));
const done = {};
let problems = [];

const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
const context = await browser.newContext({ reducedMotion: "reduce" });
await context.addInitScript(() => {
  addEventListener("securitypolicyviolation", (told) => console.error(`forbidden: ${told.violatedDirective} ${told.blockedURI}`), true);
});
const page = await context.newPage();
page.setDefaultTimeout(120_000);
page.on("console", (told) => ["error", "warning"].includes(told.type()) && problems.push(`console: ${told.text()}`));
page.on("pageerror", (error) => problems.push(`error: ${error}`));
page.on("dialog", (dialog) => (problems.push(`script ran: ${dialog.message()}`), dialog.dismiss()));
page.on("popup", () => problems.push("a window was opened"));
page.on("request", (request) => request.url().startsWith(address) || request.url().startsWith("data:") || problems.push(`left: ${request.url()}`));
page.on("framenavigated", (frame) => frame === page.mainFrame() || problems.push(`a frame: ${frame.url()}`));

for (const path of paths) {
  problems = done[path] = [];
  try {
    const answer = await page.goto(address + path);
    if (answer.status() !== 200) problems.push(`status ${answer.status()}`);
    // As written at first, and as htmx changes it in place.
    const again = page.waitForResponse((response) => response.request().headers()["hx-request"] === "true");
    await page.keyboard.press("u");
    await again;
    await page.evaluate(() => new Promise((settled) => requestAnimationFrame(() => setTimeout(settled, 0))));
    const stray = await page.evaluate(() => document.querySelectorAll("img, iframe, object, embed, base, audio, video, main svg script, main script, main style, main form:not([action])").length);
    if (stray) problems.push(`${stray} elements that no page of ours has`);
  } catch (error) {
    problems.push(String(error).slice(0, 500));
  }
}

await browser.close();
console.log(JSON.stringify(done));
