/** `rspp up`, called by telephone: a strict carrier, 8 kHz mu-law, real speech both ways. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeMulaw } from "@rspp/audio/g711";
import { resample } from "@rspp/audio/resample";
import { parseWav, wavTo16kMono } from "@rspp/audio/wav";
import { expect, test } from "vitest";
import { AUTH_TOKEN, type CarrierCall, dialIn } from "../fakes/twilio/carrier.ts";
import { questionPath } from "../fixtures/questions.ts";
import { heardByTurn } from "../integration/telephony-rig.ts";
import { plain, pocketsphinx, recognise, tempDir } from "./rspp.ts";
import { type Up, until, upWith } from "./up-rig.ts";

/** What may be heard of the agent: the recogniser's model is made for 16 kHz, and so is told little more than it will hear. */
const heardGrammar = `#JSGF V1.0;
grammar heard;
public <heard> = we open at nine | we close at six | february has twenty eight days | goodbye and have a nice day | hello how can i help you;
`;

const numbers = "+15550100=local/voice-assistant,+15550101=local/phone-menu";

function phones(...args: readonly string[]): Promise<Up> {
  const env = { RSPP_NUMBERS: numbers, RSPP_TWILIO_AUTH_TOKEN: "env:TWILIO_AUTH_TOKEN", TWILIO_AUTH_TOKEN: AUTH_TOKEN };
  return upWith({ env }, join(tempDir(), "data"), ...args);
}

function voiceUrl({ line }: Up): string {
  const stream = new URL(line("transport-telephony").addresses.telephony ?? "");
  return `http://${stream.host}/v1/twilio/voice`;
}

async function question(name: string): Promise<Int16Array> {
  return wavTo16kMono(parseWav(readFileSync(questionPath(name))));
}

/** Words that the carrier's ear heard from `fromMs` on. */
async function words({ playout }: CarrierCall, fromMs: number): Promise<string> {
  const heard = decodeMulaw(new Uint8Array(playout.voice(fromMs)));
  return plain(await recognise(await resample(heard, { inRateHz: 8_000, outRateHz: 16_000 }), heardGrammar));
}

const turnMs = (call: CarrierCall, turn: number): number => (heardByTurn(call).get(turn) ?? 0) / 1_000;
const markOf = (turn: number) => (name: string) => name.startsWith(`${turn}.`);

/** The turn has begun, and its last mark has been reached: nothing more is coming. */
async function heardOut(call: CarrierCall, turn: number): Promise<void> {
  let before = -1;
  await until(() => turnMs(call, turn) > 0, `the sound of turn ${turn}`, 30_000);
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 700));
    const now = turnMs(call, turn);
    if (now === before) return;
    before = now;
  }
}

const missing = pocketsphinx === undefined ? " (no recogniser)" : "";

test.skipIf(pocketsphinx === undefined)(
  `F-085 F-089 F-033 F-090 a caller presses a key, interrupts the answer by voice, and hears another${missing}`,
  async () => {
    const platform = await phones();
    const call = await dialIn(voiceUrl(platform), { to: "+15550101" });
    await heardOut(call, 1);
    call.press("2");
    await until(() => turnMs(call, 2) >= 2_000, "two seconds of the story", 30_000);
    // Into the middle of the story.
    await call.say(await question("hours"));
    await until(() => call.playout.got.some(({ kind }) => kind === "clear"), "the clear", 15_000);
    const cut = call.playout.got.findIndex(({ kind }) => kind === "clear");
    const cutMs = call.playout.got[cut]?.atMs ?? 0;
    await heardOut(call, 3);
    // Nothing of the story after its clear: not sent, and so not heard.
    const after = call.playout.got.slice(cut).filter(({ kind }) => kind === "mark");
    expect(after.filter(({ name }) => markOf(2)(name))).toEqual([]);
    expect(await words(call, cutMs)).toBe("we open at nine");
    // The star hangs up, and the carrier is told what to do next.
    call.press("*");
    await until(() => call.closed !== null, "the end of the stream", 20_000);
    expect([call.closed?.code, call.violations]).toEqual([1000, []]);
    expect((await call.next()).verbs).toEqual(["Hangup"]);
  },
  150_000,
);

test.skipIf(pocketsphinx === undefined)(
  `F-085 F-087 F-090 processes of their own: a caller over a bad line asks, and hears the answer${missing}`,
  async () => {
    const platform = await phones("--processes");
    const call = await dialIn(voiceUrl(platform), { to: "+15550100", jitterMs: 40, loss: 0.005, seed: 3 });
    await heardOut(call, 1);
    const askedMs = performance.now();
    await call.say(await question("hours"));
    await heardOut(call, 2);
    expect(await words(call, askedMs)).toBe("we open at nine");
    await call.hangUp();
    expect(call.violations).toEqual([]);
    let page = "";
    for (const endMs = performance.now() + 5_000; !/^rspp_telephony_sessions 0$/m.test(page); ) {
      page = await (await fetch(`${platform.line("transport-telephony").url}/metrics`)).text();
      if (performance.now() > endMs) throw new Error("the session does not end");
    }
    expect(Number(/^rspp_telephony_messages_in_total (\d+)$/m.exec(page)?.[1])).toBeGreaterThan(100);
  },
  150_000,
);
