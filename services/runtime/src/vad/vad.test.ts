import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createVadHost, type VadHost, type VadResult, type VadSession } from "./vad.ts";

const human = "/usr/share/pocketsphinx/test/data/goforward.raw";
const flite = load(new URL("./testdata/flite-go-forward.s16", import.meta.url));

function load(path: string | URL): Int16Array {
  const bytes = readFileSync(path);
  return new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + (bytes.length & ~1)));
}

const silence = (ms: number) => new Int16Array(ms * 16);

/** White noise from a fixed seed; `amplitude` is its RMS. */
function noise(ms: number, amplitude: number, seed = 1): Int16Array {
  let s = seed;
  const next = () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32 - 0.5;
  };
  return Int16Array.from({ length: ms * 16 }, () => Math.round(next() * amplitude * Math.sqrt(12)));
}

/** Noise through a one-pole low pass: like a fan or a street. */
function rumble(ms: number, amplitude: number): Int16Array {
  let y = 0;
  return noise(ms, amplitude * 3, 7).map((v) => {
    y = 0.85 * y + 0.15 * v;
    return y;
  });
}

function join(...parts: Int16Array[]): Int16Array {
  const out = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

async function judge(session: VadSession, samples: Int16Array): Promise<VadResult[]> {
  const results: VadResult[] = [];
  const frames = Math.floor(samples.length / 320);
  const { promise, resolve } = Promise.withResolvers<void>();
  for (let i = 0; i < frames; i++) {
    const part = samples.slice(i * 320, i * 320 + 320);
    session.push(new Uint8Array(part.buffer), (result) => {
      results.push(result);
      if (results.length === frames) resolve();
    });
    // As from a live call, sessions take turns: the engine works between frames.
    if (i % 10 === 9) await new Promise((done) => setImmediate(done));
  }
  await promise;
  return results;
}

const share = (results: VadResult[]) => results.filter((result) => result.speech).length / results.length;
const firstMs = (results: VadResult[]) => results.findIndex((result) => result.speech) * 20;
const lastMs = (results: VadResult[]) => (results.findLastIndex((result) => result.speech) + 1) * 20;

for (const silero of ["auto", "off"] as const) {
  describe(`VAD, silero ${silero}`, () => {
    let host: VadHost;
    beforeAll(async () => {
      host = await createVadHost({ silero });
    });
    afterAll(() => host.close());
    const run = async (samples: Int16Array) => {
      const session = host.openSession();
      const results = await judge(session, samples);
      session.close();
      return results;
    };

    test("the name tells the second stage", () => {
      if (silero === "off") expect(host.name).toBe("webrtc-gate+energy");
      else if (process.env.CI === "true") expect(host.name).toBe("webrtc-gate+silero");
      else expect(["webrtc-gate+silero", "webrtc-gate+energy"]).toContain(host.name);
    });

    test("silence is no speech", async () => {
      expect(share(await run(silence(3000)))).toBe(0);
    });

    test.each([
      ["white noise, loud", noise(4000, 3000)],
      ["white noise, faint", noise(4000, 200)],
      ["noise that starts after silence", join(silence(2000), noise(3000, 1500))],
      ["rumble", rumble(4000, 1500)],
    ])("%s is no speech", async (_name, samples) => {
      expect(share(await run(samples))).toBeLessThan(0.03);
    });

    test("flite speech: onset and offset lie near the sound's", async () => {
      // The sound itself lasts from 0.27 s to 1.53 s of the recording.
      const results = await run(join(silence(1000), flite, silence(1500)));
      expect(Math.abs(firstMs(results) - 1230)).toBeLessThanOrEqual(140);
      expect(lastMs(results)).toBeGreaterThan(2200);
      expect(lastMs(results)).toBeLessThan(2900);
      expect(share(results.slice(65, 120))).toBeGreaterThan(0.8);
    });

    test("flite speech in noise 20 dB below it", async () => {
      const clean = join(silence(1000), flite, silence(1000));
      const floor = noise(clean.length / 16 + 20, 150);
      const results = await run(clean.map((v, i) => v + floor[i]!));
      expect(share(results.slice(0, 50))).toBeLessThan(0.05);
      expect(share(results.slice(65, 115))).toBeGreaterThan(0.7);
      expect(lastMs(results)).toBeLessThan(3100);
    });

    test.runIf(existsSync(human))("a human recording", async () => {
      const results = await run(join(silence(1000), load(human), silence(1000)));
      expect(firstMs(results)).toBeGreaterThan(1000);
      expect(firstMs(results)).toBeLessThan(1900);
      expect(lastMs(results)).toBeLessThan(3700);
      expect(results.filter((result) => result.speech).length).toBeGreaterThan(45);
    });

    test("many sessions at once get the results each gets alone, in order", async () => {
      const samples = join(silence(200), flite, silence(300));
      const alone = await run(samples);
      const sessions = Array.from({ length: 40 }, () => host.openSession());
      const all = await Promise.all(sessions.map((session) => judge(session, samples)));
      for (const results of all) {
        expect(results.length).toBe(alone.length);
        results.forEach((result, i) => {
          expect(result.speech).toBe(alone[i]!.speech);
          expect(result.probability).toBeCloseTo(alone[i]!.probability, 3);
        });
      }
      for (const session of sessions) session.close();
    });

    test("frames pushed from within a result are answered too", async () => {
      const session = host.openSession();
      const { promise, resolve } = Promise.withResolvers<void>();
      const pushFrom = (i: number) => {
        const frame = flite.slice(i * 320, i * 320 + 320);
        if (frame.length < 320) {
          resolve();
          return;
        }
        session.push(new Uint8Array(frame.buffer), () => void Promise.resolve().then(() => pushFrom(i + 1)));
      };
      pushFrom(0);
      await promise;
      session.close();
    });

    test("a reset answers what is waiting and starts afresh; other lengths are refused", async () => {
      const session = host.openSession();
      const first = await judge(session, flite);
      let answered = 0;
      for (let i = 20; i < 30; i++) {
        session.push(new Uint8Array(flite.slice(i * 320, i * 320 + 320).buffer), () => answered++);
      }
      session.reset();
      expect(answered).toBe(10);
      const second = await judge(session, flite);
      expect(second.map((result) => result.speech)).toEqual(first.map((result) => result.speech));
      expect(() => session.push(new Uint8Array(100), () => {})).toThrow(RangeError);
      session.close();
      session.close();
    });

    test("virtual time is held exactly while frames wait", async () => {
      let holds = 0;
      const hold = () => {
        holds++;
        return () => {
          holds--;
        };
      };
      const own = await createVadHost({ silero, clock: { hold } });
      const session = own.openSession();
      await judge(session, flite);
      await own.close();
      expect(holds).toBe(0);
    });
  });
}
