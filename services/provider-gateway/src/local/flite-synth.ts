import { resample } from "@rspp/audio/resample";
import { parseWav } from "@rspp/audio/wav";
import type { WordTiming } from "@rspp/ports/provider";
import { compileFlite, FliteInstance } from "./flite-wasm.ts";
import { alignWords, letterPhones, parsePhones, phoneGroups, tokensOf } from "./word-timing.ts";

export const fliteVoices = ["kal16", "kal", "slt", "rms", "awb"] as const;
export const defaultFliteVoice = "kal16";

export interface SpeechRequest {
  text: string;
  voice: string;
  /** 1 is the voice's own speed, 2 twice as fast. */
  rate: number;
}

export interface Speech {
  /** 16 kHz mono; may be empty when nothing in the text can be spoken. */
  samples: Int16Array;
  words: readonly WordTiming[] | undefined;
}

/** Silence kept before the first sound; flite's own 220 ms would only delay the answer. */
const leadS = 0.04;

/** Flite with an instance kept ready. Not reentrant: one clause at a time. */
export class FliteSynth {
  readonly #module: WebAssembly.Module;
  #ready: FliteInstance[] = [];

  private constructor(module: WebAssembly.Module) {
    this.#module = module;
    this.prepare();
  }

  static async load(): Promise<FliteSynth> {
    return new FliteSynth(await compileFlite());
  }

  /** Sets instances up ahead; call when idle. */
  prepare(): void {
    while (this.#ready.length < 2) this.#ready.push(new FliteInstance(this.#module));
  }

  /** Throws when flite fails. */
  async speak(request: SpeechRequest): Promise<Speech> {
    const stretch = `duration_stretch=${(1 / request.rate).toFixed(3)}`;
    const base = ["-voice", request.voice, "--setf", stretch, "-psdur"];
    const run = this.#run([...base, "-t", request.text, "/out.wav"]);
    if (run.exitCode !== 0) throw new Error(`flite ended with status ${run.exitCode}`);
    const phones = parsePhones(run.stdout);
    if (run.wav.length <= 44 || phones.length === 0) return { samples: new Int16Array(0), words: undefined };
    const wav = parseWav(run.wav);
    const all = await resample(wav.samples, { inRateHz: wav.rateHz, outRateHz: 16_000 });
    const lead = phones[0]?.name === "pau" ? Math.max(0, phones[0].endS - leadS) : 0;
    const samples = all.subarray(Math.round(lead * 16_000));
    const lengthS = samples.length / 16_000;
    const shifted = phones.map((phone) => ({
      name: phone.name,
      startS: clamp(phone.startS - lead, lengthS),
      endS: clamp(phone.endS - lead, lengthS),
    }));
    const tokens = tokensOf(request.text);
    const words = alignWords(tokens, this.#alone(tokens.map((token) => token.text)), shifted);
    return { samples, words };
  }

  /** Phones of each token as spoken alone: commas make flite pause between them, except after single letters. */
  #alone(tokens: readonly string[]): string[][] {
    const words = tokens.filter((token) => letterPhones(token) === undefined);
    if (words.length === 0) return tokens.map((token) => letterPhones(token) ?? []);
    const run = this.#run(["-voice", "kal16", "-psdur", "-t", `${words.join(", ")}.`, "none"]);
    const groups = phoneGroups(parsePhones(run.stdout));
    if (groups.length !== words.length) return [];
    return tokens.map((token) => letterPhones(token) ?? groups.shift() ?? []);
  }

  #run(args: readonly string[]) {
    const instance = this.#ready.pop() ?? new FliteInstance(this.#module);
    return instance.run(args);
  }
}

function clamp(seconds: number, max: number): number {
  return Math.min(Math.max(0, seconds), max);
}
