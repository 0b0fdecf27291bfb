/** What a scripted caller says, as samples: a tone for a simulated recogniser, a voice or a WAV for one that listens. */
import { resolve } from "node:path";
import { FliteSynth } from "@rspp/provider-gateway/local/flite-synth";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import type { Speech, TestScript, TestStep } from "@rspp/spec/test-script/script";
import { readWavSource } from "@rspp/transport-loopback/wav-source";
import { InputError } from "../errors.ts";

export interface Utterance {
  /** 16 kHz mono. */
  readonly samples: Int16Array;
  readonly ms: number;
  /** For sim/stt, which knows no other words. */
  readonly transcript: string;
}

export interface Spoken {
  /** By step; null where nothing is said. */
  readonly utterances: readonly (Utterance | null)[];
  /** All of them are tones. */
  readonly tones: boolean;
}

export function speechOf(step: TestStep): Speech | undefined {
  if (step.say !== undefined || step.audio !== undefined) return step;
  const inner = step.barge_in ?? step.push_to_talk;
  return inner?.say === undefined && inner?.audio === undefined ? undefined : inner;
}

/** @throws InputError where a WAV has no words and the recogniser is simulated; WavSourceError for a WAV that is none. */
export async function prepareSpeech(script: TestScript, folder: string, pipeline: CompiledPipeline): Promise<Spoken> {
  const recogniser = pipeline.graph.nodes.find(({ kind }) => kind === "stt")?.candidates[0]?.provider;
  const listens = recogniser !== undefined && recogniser !== "sim/stt";
  const tones = !listens && script.steps.every((step) => speechOf(step)?.audio === undefined);
  let voice: FliteSynth | undefined;
  const utterances: (Utterance | null)[] = [];
  for (const [i, step] of script.steps.entries()) {
    const speech = speechOf(step);
    if (speech?.audio !== undefined) utterances.push(await recorded(speech.audio, folder, listens, i));
    else if (speech?.say === undefined) utterances.push(null);
    else if (tones) utterances.push(tone(speech.say));
    else {
      voice ??= await FliteSynth.load();
      utterances.push(await voiced(voice, speech.say));
    }
  }
  return { utterances, tones };
}

const MS_PER_CHAR = 60;
const SPOKEN_MS_MIN = 400;
const TONE_MS_MAX = 15_000;

function tone(text: string): Utterance {
  const ms = Math.min(TONE_MS_MAX, Math.max(SPOKEN_MS_MIN, text.length * MS_PER_CHAR));
  const samples = Int16Array.from({ length: ms * 16 }, (_, i) => Math.round(9_000 * Math.sin(i / 3)));
  return { samples, ms, transcript: text };
}

async function voiced(voice: FliteSynth, text: string): Promise<Utterance> {
  const { samples } = await voice.speak({ text, voice: "kal16", rate: 1 });
  return { samples, ms: samples.length / 16, transcript: text };
}

async function recorded(
  { wav, text }: { readonly wav: string; readonly text?: string },
  folder: string,
  listens: boolean,
  step: number,
): Promise<Utterance> {
  const source = await readWavSource(resolve(folder, wav));
  const transcript = text ?? source.transcript;
  if (transcript === undefined && !listens)
    throw new InputError(
      `steps[${step}].audio: sim/stt knows no words for ${wav}\n   help: write them as text, or in a file beside it that ends in .txt`,
    );
  return { samples: source.samples, ms: source.durationUs / 1_000, transcript: transcript ?? "" };
}
