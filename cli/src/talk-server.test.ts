import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeWav } from "@rspp/audio/wav";
import { describe, expect, onTestFinished, test } from "vitest";
import { bindForCall } from "./bind.ts";
import { loadPipeline } from "./pipeline.ts";
import { openPlatform, type Platform } from "./platform.ts";
import { openTalkDoor } from "./talk-server.ts";

const template = fileURLToPath(new URL("../../pipelines/specs/voice-assistant.yaml", import.meta.url));
const wav = writeWav(new Int16Array(16_000), { rateHz: 16_000, channels: 1 });

interface Door {
  url: URL;
  platform: Platform;
  /** What it has printed. */
  text(): string;
  /** Settles once it has printed `part`. */
  said(part: string): Promise<void>;
}

async function openDoor(recognises: boolean): Promise<Door> {
  const dataDir = mkdtempSync(join(tmpdir(), "rspp-talk-"));
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
  const platform = await openPlatform({ dataDir, fast: false, silero: "off" });
  onTestFinished(() => platform.close());
  const { compiled } = await loadPipeline(template);
  const { pipeline } = bindForCall(compiled, platform.gateway, { transcripts: [], stt: "sim/stt" });
  const door = await openTalkDoor(0);
  onTestFinished(() => door.close());
  let printed = "";
  const waiting = new Set<() => void>();
  const print = (line: string): void => {
    printed += `${line}\n`;
    for (const look of waiting) look();
  };
  void door.serve({ platform, pipeline, recognises, print });
  const said = (part: string): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (printed.includes(part)) resolve();
      };
      waiting.add(look);
      look();
    });
  return { url: new URL(/http:\S+/.exec(printed)?.[0] ?? ""), platform, text: () => printed, said };
}

interface Answer {
  status: number;
  text: string;
}

function ask(url: URL, body: Uint8Array, headers: Record<string, string> = {}, path = "/talk"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method: "POST", headers, path }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    call.on("error", reject).end(body);
  });
}

describe("the door of a terminal", () => {
  test("F-078 where nothing can be recognised it says so, and a WAV is refused with the reason", async () => {
    const { url, text } = await openDoor(false);
    expect(text()).toMatch(/ready: .*nothing can be recognised here.*apt-get install/);
    expect(await ask(url, wav)).toMatchObject({
      status: 503,
      text: expect.stringMatching(/nothing can be recognised/),
    });
  });

  test("other hosts' names and other sites' pages are refused", async () => {
    const { url } = await openDoor(false);
    const cases: [Record<string, string>, number, RegExp][] = [
      [{ host: "rebound.example" }, 403, /Host/],
      [{ host: "127.0.0.1.example:80" }, 403, /Host/],
      [{ origin: "https://site.example" }, 403, /Origin/],
      [{ origin: "null" }, 403, /Origin/],
      [{ origin: "http://127.0.0.1:1" }, 403, /Origin/],
      [{ origin: url.origin }, 503, /recognised/],
      [{ host: `localhost:${url.port}` }, 503, /recognised/],
      [{ host: "[::1]:80" }, 503, /recognised/],
    ];
    for (const [headers, status, text] of cases)
      expect(await ask(url, wav, headers), JSON.stringify(headers)).toEqual({
        status,
        text: expect.stringMatching(text),
      });
  });

  test("a WAV caller who hangs up ends his call at once", async () => {
    const { url, text, said } = await openDoor(true);
    const call = request(url, { method: "POST" });
    call.on("error", () => {});
    call.end(wav);
    await said("turn 1   opens");
    call.destroy();
    await said("call over: ended_by_caller");
    expect(text()).not.toMatch(/played to the end|call failed/);
  });

  test("a session that is refused is 503 with its reason, for a WAV and for raw audio", async () => {
    const { url, platform } = await openDoor(true);
    await platform.runtime.drain(0);
    for (const path of ["/talk", "/talk?rate=16000"])
      expect(await ask(url, wav, {}, path)).toMatchObject({
        status: 503,
        text: expect.stringMatching(/session was refused: .*being stopped/),
      });
  });
});
