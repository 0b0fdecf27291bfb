/** A real browser on a real platform: a page's microphone and loudspeaker, a barge-in, and a network that breaks. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { bytesToS16 } from "@rspp/audio/pcm";
import { resample } from "@rspp/audio/resample";
import { writeWav } from "@rspp/audio/wav";
import { expect, onTestFinished, test } from "vitest";
import type { PageState } from "./browser-page.ts";
import { chromium, openPage, type Page } from "./chromium.ts";
import { type CutProxy, startCutProxy } from "./cut-proxy.ts";
import { servePage } from "./page-server.ts";
import { plain, pocketsphinx, recognise, tempDir } from "./rspp.ts";
import { question, routeTo, up } from "./up-rig.ts";

const inCi = process.env.CI === "true";
const rateHz = 48_000;

test.runIf(inCi)("chromium is installed in CI", () => {
  expect(chromium, "apt-get install chromium").toBeDefined();
});

interface Browser {
  readonly page: Page;
  readonly network: CutProxy;
  state(): Promise<PageState>;
  /** The caller's microphone hears a recorded question, then silence. */
  ask(name: "question-1" | "question-2"): Promise<void>;
  /** What left the loudspeaker, 16 kHz. */
  sound(fromS: number, toS: number): Promise<Int16Array>;
  when(done: (state: PageState) => boolean, what: string, maxMs?: number): Promise<PageState>;
}

async function browse(): Promise<Browser & { registry: Awaited<ReturnType<typeof up>>["registry"] }> {
  const folder = tempDir();
  const { registry } = await up(join(tempDir(), "data"));
  const route = await routeTo(registry, "voice-assistant");
  const network = await startCutProxy();
  const server = await servePage("browser-page.ts");
  onTestFinished(() => server.close());
  onTestFinished(() => network.close());
  const file = join(folder, "microphone.wav");
  const quiet = new Int16Array(rateHz);
  const hear = (samples: Int16Array): void =>
    writeFileSync(
      file,
      writeWav(Int16Array.from([...quiet.subarray(0, rateHz / 10), ...samples, ...quiet]), { rateHz, channels: 1 }),
    );
  hear(quiet);
  const args = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
  args.push("--autoplay-policy=no-user-gesture-required", `--use-file-for-fake-audio-capture=${file}%noloop`);
  const page = await openPage(server.url, { profile: join(folder, "profile"), args });
  onTestFinished(() => page.close());
  const address = network.through(route.endpoint?.url ?? "");
  await page.run(`start(${JSON.stringify(address)}, ${JSON.stringify(route.token)})`);
  const state = (): Promise<PageState> => page.run<PageState>("call.state()");
  const upward = { inRateHz: 16_000, outRateHz: rateHz };
  const questions = {
    "question-1": await resample(await question("question-1"), upward),
    "question-2": await resample(await question("question-2"), upward),
  };
  return {
    page,
    network,
    registry,
    state,
    ask: async (name) => {
      hear(questions[name]);
      await page.run("call.speak()");
    },
    sound: async (fromS, toS) => {
      const text = await page.run<string>(`call.sound(${fromS}, ${toS})`);
      return resample(bytesToS16(new Uint8Array(Buffer.from(text, "base64"))), { inRateHz: rateHz, outRateHz: 16_000 });
    },
    when: async (done, what, maxMs = 45_000) => {
      const endMs = performance.now() + maxMs;
      for (;;) {
        const now = await state();
        if (done(now)) return now;
        const { frames: _, ...told } = now;
        const why = `not within ${maxMs} ms: ${what}\n${page.console.join("\n")}\n${JSON.stringify(told)}`;
        if (performance.now() > endMs) throw new Error(why);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };
}

const finals = ({ texts }: PageState, role: string): string[] =>
  texts.filter((t) => t.role === role && t.final).map(({ text }) => text.trim());

/** Every frame of a turn's voice, once and in order. */
function whole(state: PageState, turn: number): void {
  const frames = state.frames.filter((f) => f.turn === turn);
  expect(frames.map((f) => f.sequence)).toEqual(frames.map((_, i) => i + 1));
  expect(frames.filter((f) => f.end)).toHaveLength(1);
}

const missing = chromium === undefined ? " (chromium is not installed)" : "";

test.skipIf(chromium === undefined)(
  `F-084 F-091 a browser asks, interrupts, hears the answer, and goes on after five seconds without a network${missing}`,
  async () => {
    const { page, network, when, ask, sound } = await browse();
    await when(({ completed }) => completed.includes(1), "the greeting heard to its end");
    await ask("question-1");
    await when(({ heardMs }) => (heardMs[2] ?? 0) >= 1_500, "a second and a half of the story");

    // The second question into the middle of the answer.
    await ask("question-2");
    const cut = await when(({ flushes }) => flushes.some(({ turn }) => turn === 2), "the flush");
    const answered = await when(({ completed }) => completed.includes(3), "the answer heard to its end");
    expect(cut.flushes.map(({ turn, held }) => [turn, held])).toEqual([[2, 0]]);
    const flushedS = cut.flushes[0]!.atS;
    // A block of the audio thread may be under way: 128 samples. Then nothing, until the answer begins.
    const silent = await sound(flushedS + 0.01, flushedS + 0.4);
    expect(silent.length).toBeGreaterThan(6_000);
    expect(silent.findIndex((sample) => Math.abs(sample) > 8)).toBe(-1);
    expect((await sound(flushedS - 1, flushedS)).some((sample) => Math.abs(sample) > 1_000)).toBe(true);
    whole(answered, 3);
    expect(answered.turns.filter(({ turn }) => turn === 3).map(({ phase }) => phase)).toContain("commit");
    expect(finals(answered, "assistant").length).toBeGreaterThanOrEqual(1);
    if (pocketsphinx !== undefined) {
      expect(finals(answered, "user")).toEqual(["tell me a story", "how many days are in february"]);
      const voice = await sound(flushedS + 0.4, await page.run<number>("call.nowS()"));
      expect(plain(await recognise(voice))).toBe("february has twenty eight days or twenty nine in a leap year");
    }

    // The network breaks in the middle of an answer.
    await ask("question-1");
    const before = await when(({ heardMs }) => (heardMs[4] ?? 0) >= 1_000, "a second of the story");
    network.cut();
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect((await when(({ state }) => state === "reconnecting", "the client's notice")).session).toBe(before.session);
    network.heal();
    const after = await when(({ completed }) => completed.includes(4), "the story heard to its end", 90_000);
    expect(after.session).toBe(before.session);
    expect(after.resumes).toBe(1);
    expect(after.states.map(({ state }) => state)).toEqual(["reconnecting", "open"]);
    expect(network.refused).toBeGreaterThan(0);
    whole(after, 4);
    expect(finals(after, "user")).toHaveLength(3);
    expect(new Set(after.texts.filter((t) => t.final).map((t) => t.eventId)).size).toBe(
      after.texts.filter((t) => t.final).length,
    );
    expect(after.turns.filter(({ phase }) => phase === "open").map(({ turn }) => turn)).toEqual([1, 2, 3, 4]);
    await page.run("call.end()");
    expect((await when(({ state }) => state === "closed", "the end")).ended).toBe("caller_hangup");
    expect(page.console).toEqual([]);
  },
  240_000,
);
