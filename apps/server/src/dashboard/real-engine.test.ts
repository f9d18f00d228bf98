/// <reference lib="dom" />
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Browser } from "playwright-core";
import { hasBrowser, launchBrowser } from "./fixtures/browser.js";
import { tinyText } from "../fixtures/tiny-artifact.js";
import { makeTinyFolder, startTinyServer } from "../fixtures/tiny-server.js";
import type { TinyFolder, TinyServer } from "../fixtures/tiny-server.js";

describe.skipIf(!hasBrowser)("dashboard over the real engine", () => {
  let browser: Browser;
  let folder: TinyFolder;
  let server: TinyServer;
  beforeAll(async () => {
    browser = await launchBrowser();
    folder = makeTinyFolder();
    server = await startTinyServer({ cache: await folder.artifact("kvq3") });
  });
  afterAll(async () => {
    await browser.close();
    await server.close();
    folder.remove();
  });

  it("shows the layers of the model, and a second turn that comes from the cache", async () => {
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => void (message.type() === "error" && complaints.push(message.text())));
    page.on("pageerror", (error) => void complaints.push(String(error)));
    await page.goto(server.url);
    await page.locator("#model:not([disabled])").waitFor();
    const { layers } = (await server.get("/v1/cache")).body.models.tiny;
    await page.locator(".cell").first().waitFor();
    expect(await page.locator(".cell").count()).toBe(2 * layers.length);

    const cached: number[] = [];
    for (const [turn, question] of [tinyText().slice(0, 700), "And then?"].entries()) {
      await page.locator("#prompt").fill(question);
      await page.locator("summary").evaluate((summary) => void ((summary.parentElement as HTMLDetailsElement).open = true));
      await page.locator("#max-tokens").fill("12");
      await page.locator("#send").click();
      await page.waitForFunction((count) => [...document.querySelectorAll(".message.assistant")].filter((message) => message.textContent?.includes("first token")).length === count, turn + 1);
      cached.push(Number((await page.locator("#live-cached").textContent())!.split(" ")[0]));
    }
    expect(cached[0]).toBe(0);
    expect(cached[1]).toBeGreaterThan(100);
    expect((await server.get("/v1/sessions")).body.data).toHaveLength(1);
    await page.locator("#clear").click();
    while ((await server.get("/v1/sessions")).body.data.length > 0) await page.waitForTimeout(20);
    expect(complaints).toEqual([]);
  });
});
