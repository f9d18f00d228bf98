/// <reference lib="dom" />
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { hasBrowser, launchBrowser } from "./fixtures/browser.js";
import { busyStats, fidelityFigures, historyReport, layers } from "./fixtures/figures.js";
import { listenScripted } from "../fixtures/listening-server.js";
import type { ListeningServer } from "../fixtures/listening-server.js";

/** Where to leave pictures to look at; none are made without it. */
const pictures = process.env["KVQUANT_SCREENSHOTS"];

describe.skipIf(!hasBrowser)("dashboard", () => {
  let browser: Browser;
  let server: ListeningServer;
  const pages: Page[] = [];
  /** Console errors, page errors and blocked resources of all pages of a test. */
  let complaints: string[] = [];

  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser.close();
  });
  afterEach(async () => {
    for (const page of pages.splice(0)) await page.context().close();
    await server.close();
  });

  async function open(options: { readonly settings?: Record<string, unknown>; readonly busy?: boolean; readonly context?: BrowserContextOptions } = {}): Promise<Page> {
    server = await listenScripted(options.settings);
    if (options.busy === true) {
      const { engine } = server.scripted;
      const real = engine.stats.bind(engine);
      engine.stats = () => ({ ...real(), ...busyStats });
    }
    complaints = [];
    const page = await (await browser.newContext({ viewport: { width: 1360, height: 900 }, ...options.context })).newPage();
    pages.push(page);
    page.on("console", (message) => void (["error", "warning"].includes(message.type()) && complaints.push(message.text())));
    page.on("pageerror", (error) => void complaints.push(String(error)));
    page.on("request", (request) => void (new URL(request.url()).origin !== server.url && complaints.push(`request to ${request.url()}`)));
    if (options.busy === true) {
      await page.route("**/v1/metrics/history", (route) => route.fulfill({ json: historyReport() }));
      await page.route("**/v1/fidelity", (route) => route.fulfill({ json: { models: { tiny: fidelityFigures() } } }));
    }
    await page.goto(server.url);
    return page;
  }

  async function ready(page: Page): Promise<void> {
    await page.locator("#model:not([disabled])").waitFor();
  }

  async function picture(page: Page, name: string): Promise<void> {
    if (pictures === undefined) return;
    mkdirSync(pictures, { recursive: true });
    await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  }

  it("streams an answer into the page, with its figures, and sends the whole conversation", async () => {
    const page = await open();
    await ready(page);
    const { engine } = server.scripted;
    engine.script = () => ({ text: "One two three four five six seven eight.", milliseconds: 25, cachedTokens: 3 });
    await page.locator("#prompt").fill("Count, please");
    await page.locator("#send").click();
    const answer = page.locator(".message.assistant .text");
    await page.waitForFunction(() => (document.querySelector(".message.assistant .text")?.textContent ?? "").length > 3);
    expect(await page.locator(".message.running").count()).toBe(1);
    await page.locator(".message.assistant .after").waitFor();
    expect(await answer.textContent()).toBe("One two three four five six seven eight.");
    expect(await page.locator("#live-cached").textContent()).toMatch(/^3 of \d+$/);
    expect(await page.locator("#live-cache").textContent()).toBe("100 B");
    expect(await page.locator("#live-fp16").textContent()).toBe("400 B");
    expect(await page.locator("#live-verdict").textContent()).toContain("4.0 times smaller");
    expect(Number(await page.locator("#live-rate").textContent())).toBeGreaterThan(0);

    await page.locator("#prompt").fill("Again");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelectorAll(".message.assistant .after").length === 2);
    const [first, second] = engine.requests.map(({ prompt }) => server.scripted.tokenizer.decode(Int32Array.from(prompt as Int32Array)));
    expect(second!.startsWith(first!.slice(0, 10))).toBe(true);
    expect(second).toContain("seven eight.");
    expect(complaints).toEqual([]);
  });

  it("keeps the cache of a conversation under one name, and frees it with the next conversation", async () => {
    const page = await open();
    await ready(page);
    const { engine } = server.scripted;
    const deleted: string[] = [];
    engine.deleteSession = (id) => Promise.resolve(deleted.push(id) > 0);
    const ask = async (count: number): Promise<void> => {
      await page.locator("#prompt").fill("Hello");
      await page.keyboard.press("Enter");
      await page.waitForFunction((wanted) => document.querySelectorAll(".message.assistant .after").length === wanted, count);
    };
    await ask(1);
    await ask(2);
    await page.locator("#clear").click();
    await ask(1);
    await page.locator("summary").click();
    await page.locator("#keep").uncheck();
    await ask(2);
    const [first, second, third, fourth] = engine.requests.map(({ session }) => session);
    expect(first).toMatch(/^dashboard-[0-9a-f]{24}$/);
    expect([second, fourth]).toEqual([first, undefined]);
    expect(third).not.toBe(first);
    while (deleted.length < 1) await page.waitForTimeout(10);
    expect(deleted).toEqual([first]);
    await page.goto("about:blank");
    while (deleted.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(deleted).toEqual([first, third]);
  });

  it("stops an answer with the button and with Escape, keeps what came, and frees the request", async () => {
    const page = await open();
    await ready(page);
    server.scripted.engine.script = () => ({ text: "word ".repeat(400), milliseconds: 20 });
    for (const [round, stop] of [() => page.locator("#stop").click(), () => page.keyboard.press("Escape")].entries()) {
      await page.locator("#prompt").fill("Go on for long");
      await page.keyboard.press("Enter");
      await page.waitForFunction((index) => (document.querySelectorAll(".message.assistant .text")[index]?.textContent ?? "").length > 10, round);
      await stop();
      await page.locator(".message.assistant .after", { hasText: "Stopped." }).nth(round).waitFor();
      expect(await page.locator("#send").isVisible()).toBe(true);
      expect(await page.locator("#stop").isVisible()).toBe(false);
    }
    while (server.scripted.engine.cancelled() < 2) await page.waitForTimeout(10);
    expect(complaints).toEqual([]);
  });

  it("shows what a model says as text, whatever it looks like", async () => {
    const page = await open();
    await ready(page);
    const attack = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script><a href="javascript:window.hacked=1">x</a>`;
    server.scripted.engine.script = () => ({ text: attack });
    await page.locator("#prompt").fill(`${attack} and from me`);
    await page.keyboard.press("Enter");
    await page.locator(".message.assistant .after").waitFor();
    expect(await page.locator(".message.assistant .text").textContent()).toBe(attack);
    expect(await page.locator(".message.user .text").textContent()).toBe(`${attack} and from me`);
    expect(await page.locator(".messages :is(img, script, a)").count()).toBe(0);
    expect(await page.evaluate(() => "hacked" in window)).toBe(false);
    expect(complaints).toEqual([]);
  });

  it("refuses scripts, styles and requests that are not its own, by policy", async () => {
    const page = await open();
    await ready(page);
    const found = await page.evaluate(async () => {
      const script = document.createElement("script");
      try {
        script.textContent = "window.hacked = 1";
        document.body.append(script);
      } catch {
        // trusted types: refused even earlier
      }
      let html = "accepted";
      try {
        document.createElement("div").innerHTML = "<b>x</b>";
      } catch {
        html = "refused";
      }
      const abroad = await fetch("http://127.0.0.1:9/").then(() => "sent", () => "refused");
      return { ran: "hacked" in window, html, abroad };
    });
    expect(found).toEqual({ ran: false, html: "refused", abroad: "refused" });
  });

  it("draws the page map by layer and precision, and the cells can be read with the arrow keys", async () => {
    const page = await open({ busy: true });
    await ready(page);
    await page.locator(".cell").first().waitFor();
    const cells = await page.locator(".cell").evaluateAll((all) => all.map((cell) => ({ bits: cell.textContent, colour: getComputedStyle(cell.querySelector(".cell-edge")!).backgroundColor })));
    expect(cells.map(({ bits }) => bits)).toEqual([...layers.map(({ keyBits }) => String(keyBits)), ...layers.map(({ valueBits }) => String(valueBits))]);
    const colours = new Map(cells.map(({ bits, colour }) => [bits, colour]));
    expect(new Set(colours.values()).size).toBe(5);
    await page.waitForFunction(() => (document.querySelector<HTMLElement>(".cell-fill")?.style.height ?? "") !== "");
    expect(Number.parseFloat(await page.locator(".cell-fill").first().evaluate((fill) => (fill as HTMLElement).style.height))).toBeCloseTo((100 * 92_000_000) / 268_435_456, 1);

    await page.locator(".cell").first().focus();
    for (const key of ["ArrowRight", "ArrowRight", "ArrowDown"]) await page.keyboard.press(key);
    expect(await page.locator("#map-detail").textContent()).toMatch(/^Layer 2 of 30, values: 4 bits, kvquant\/rotated-values\./);
    await page.keyboard.press("End");
    expect(await page.locator("#map-detail").textContent()).toMatch(/^Layer 29 of 30, values: fp16/);
    expect(await page.locator("#memory-bar").getAttribute("aria-label")).toContain("87.7 MiB of 256 MiB in use");
    expect(complaints).toEqual([]);
  });

  it("draws the last hour and the fidelity samples", async () => {
    const page = await open({ busy: true });
    await page.locator(".plot canvas").nth(5).waitFor();
    await page.locator("#fidelity-plot canvas").waitFor();
    // Lines, and not just an empty field: more than a few colours on every canvas.
    const inked = await page.locator("canvas").evaluateAll((all) =>
      all.map((canvas) => {
        const { width, height } = canvas as HTMLCanvasElement;
        const { data } = (canvas as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, width, height);
        return data.filter((value, index) => index % 4 === 3 && value > 200).length / (width * height);
      }),
    );
    expect(inked).toHaveLength(7);
    expect(Math.min(...inked)).toBeGreaterThan(0.005);
    expect(await page.locator("#fidelity-state").textContent()).toBe("within the threshold");
    expect(await page.locator("#fidelity-figures").textContent()).toContain("97.2 %");
    await page.locator("#prompt").fill("What does a key-value cache hold?");
    server.scripted.engine.script = () => ({ text: "For every token of the text so far, and in every layer, a key and a value.\n\nA new token's query is compared with all keys, and the values are mixed by how well they match.", milliseconds: 2, cachedTokens: 12 });
    await page.keyboard.press("Enter");
    await page.locator(".message.assistant .after").waitFor();
    await picture(page, "light");
    expect(complaints).toEqual([]);
  });

  it("is dark where that is preferred, and keeps a choice", async () => {
    const page = await open({ busy: true, context: { colorScheme: "dark" } });
    await ready(page);
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await ground();
    await page.locator("#fidelity-plot canvas").waitFor();
    await picture(page, "dark");
    await page.locator("#theme").click();
    expect(await page.locator("#theme").textContent()).toBe("Theme: light");
    const light = await ground();
    expect([dark, light]).toEqual(["rgb(16, 22, 24)", "rgb(244, 243, 238)"]);
    await page.reload();
    expect(await ground()).toBe(light);
    expect(complaints).toEqual([]);
  });

  it("keeps text readable in both themes: at least 4.5 to 1 against its ground", async () => {
    for (const colorScheme of ["light", "dark"] as const) {
      const page = await open({ busy: true, context: { colorScheme } });
      await page.locator("#fidelity-plot canvas").waitFor();
      expect(await page.evaluate(findPoorContrast), colorScheme).toEqual([]);
      if (colorScheme === "light") await server.close();
    }
  });

  it("can be used with the keyboard alone, with the focus to be seen", async () => {
    const page = await open({ busy: true });
    await ready(page);
    await page.locator(".cell").first().waitFor();
    const visited: string[] = [];
    for (let step = 0; step < 14; step++) {
      await page.keyboard.press("Tab");
      const { name, outline } = await page.evaluate(() => ({ name: document.activeElement?.id || document.activeElement?.className || document.activeElement?.tagName || "", outline: getComputedStyle(document.activeElement!).outlineStyle }));
      if (name === "BODY") break;
      visited.push(name.split(" ")[0]!);
      expect(outline, name).not.toBe("none");
    }
    expect(visited).toEqual(["skip", "model", "theme", "clear", "messages", "prompt", "SUMMARY", "send", "cell"]);
    server.scripted.engine.script = () => ({ text: "word ".repeat(300), milliseconds: 20 });
    await page.locator("#prompt").focus();
    await page.keyboard.type("hello");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.id === "stop");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.id === "send");
    expect(complaints).toEqual([]);
  });

  it("fits a screen of 380 pixels without scrolling sideways", async () => {
    const page = await open({ busy: true, context: { viewport: { width: 380, height: 780 } } });
    await page.locator("#fidelity-plot canvas").waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(380);
    await picture(page, "narrow");
    expect(complaints).toEqual([]);
  });

  it("shows errors: a refused request, a failure in the middle, and a server that is gone and comes back", async () => {
    const page = await open();
    await ready(page);
    const { engine } = server.scripted;
    engine.capacity = 0;
    await page.locator("#prompt").fill("Hello");
    await page.keyboard.press("Enter");
    await page.locator(".failure", { hasText: "expected room, got none" }).waitFor();
    engine.capacity = Infinity;
    engine.script = () => ({ text: "one two three", failure: { at: 2, error: new Error("a defect") } });
    await page.locator("#prompt").fill("Hello again");
    await page.keyboard.press("Enter");
    await page.locator(".failure", { hasText: "failed on this request" }).waitFor();
    await page.route("**/v1/cache", (route) => route.abort());
    await page.locator("#trouble", { hasText: "cannot be reached" }).waitFor();
    await page.locator("#prompt").fill("Are you there?");
    await page.keyboard.press("Enter");
    await page.locator(".failure", { hasText: "failed on this request" }).nth(1).waitFor();
    await page.unroute("**/v1/cache");
    await page.locator("#trouble").waitFor({ state: "hidden" });
    expect(complaints.filter((text) => !/Failed to load resource/.test(text))).toEqual([]);
  });

  it("asks for an API key where the server wants one, and goes on with it", async () => {
    const page = await open({ settings: { apiKeys: ["open-sesame-123456"] } });
    await page.locator("#key-form").waitFor();
    await page.locator("#key").fill("open-sesame-123456");
    await page.keyboard.press("Enter");
    await ready(page);
    await page.locator("#prompt").fill("Hello");
    await page.locator("#send").click();
    await page.locator(".message.assistant .after").waitFor();
    expect(await page.locator(".message.assistant .text").textContent()).toBe("Hello there.");
    expect(page.url()).not.toContain("sesame");
  });
});

/** Runs in the page: texts whose contrast with what is behind them is under 4.5 to 1 (WCAG 2.2, 1.4.3). */
function findPoorContrast(): string[] {
  const parse = (text: string): number[] => (text.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (rgb: number[]): number => {
    const [r, g, b] = rgb.slice(0, 3).map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  const groundOf = (element: Element | null): number[] => {
    for (let at = element; at !== null; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || (colour[3] ?? 0) > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const poor: string[] = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode() !== null) {
    const element = walker.currentNode.parentElement!;
    if (walker.currentNode.textContent?.trim() === "" || element.checkVisibility?.() === false || element.closest("script, option, .visually-hidden") !== null) continue;
    const style = getComputedStyle(element);
    let ground = groundOf(element);
    // A cell's fill lies between its text and its ground.
    const fill = element.closest(".cell")?.querySelector(".cell-fill");
    if (fill !== null && fill !== undefined) {
      const { backgroundColor, opacity } = getComputedStyle(fill);
      ground = ground.map((value, index) => value + (parse(backgroundColor)[index]! - value) * Number(opacity));
    }
    const [high, low] = [luminance(parse(style.color)), luminance(ground)].sort((one, other) => other - one);
    const ratio = (high! + 0.05) / (low! + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} "${walker.currentNode.textContent?.trim().slice(0, 30)}" ${style.color} on ${ground.map(Math.round).join()}`);
  }
  return [...new Set(poor)];
}
