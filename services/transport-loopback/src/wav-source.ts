/** Recordings a caller speaks: WAVs of 8 to 48 kHz as 16 kHz mono, and what was said in them from a sidecar file. */
import { readFile, stat } from "node:fs/promises";
import { parseWav, type WavEncoding, WavError, type WavErrorCode, wavTo16kMono } from "@rspp/audio/wav";
import { CALLER_RATE_HZ, SPEECH_PENDING_MS_MAX, TRANSCRIPT_BYTES_MAX } from "./limits.ts";
import { samplesToUs } from "./sample-clock.ts";

export type WavSourceErrorCode = WavErrorCode | "missing" | "unreadable" | "truncated" | "too_long";

/** Names the file, what is wrong with it and what to do; the message holds all three. */
export class WavSourceError extends Error {
  override readonly name = "WavSourceError";
  readonly code: WavSourceErrorCode;
  readonly path: string;
  readonly remedy: string;

  constructor(code: WavSourceErrorCode, path: string, problem: string, remedy: string, cause?: unknown) {
    super(`${path}: ${problem}. ${remedy}`, { cause });
    this.code = code;
    this.path = path;
    this.remedy = remedy;
  }
}

export interface WavSource {
  path: string;
  /** 16 kHz mono. */
  samples: Int16Array;
  durationUs: number;
  /** As stored in the file. */
  stored: { rateHz: number; channels: 1 | 2; encoding: WavEncoding };
  /** Words of the sidecar file `x.txt` beside `x.wav`; undefined when there is none. */
  transcript: string | undefined;
}

export interface WavSourceOptions {
  /** Take a file that was cut off in its audio as far as it goes; an error by default. */
  allowTruncated?: boolean;
}

/** Throws WavSourceError. Stereo is averaged to one channel. */
export async function readWavSource(path: string, options: WavSourceOptions = {}): Promise<WavSource> {
  const wav = await parse(path);
  if (wav.truncated && options.allowTruncated !== true) {
    const remedy = "Copy or export it again; what is there can be saved with `sox in.wav out.wav`";
    throw new WavSourceError("truncated", path, "the WAV promises more audio than the file holds", remedy);
  }
  if (wav.durationUs > SPEECH_PENDING_MS_MAX * 1_000) {
    const seconds = Math.round(wav.durationUs / 1e6);
    const problem = `the WAV lasts ${seconds} s; a caller speaks at most ${SPEECH_PENDING_MS_MAX / 1000} s at a time`;
    throw new WavSourceError("too_long", path, problem, "Split it, e.g. `sox in.wav out.wav trim 0 60`");
  }
  const samples = await wavTo16kMono(wav);
  const { rateHz, channels, encoding } = wav;
  return {
    path,
    samples,
    durationUs: samplesToUs(samples.length, CALLER_RATE_HZ),
    stored: { rateHz, channels, encoding },
    transcript: await readTranscript(path),
  };
}

/** In the given order; the first bad one throws WavSourceError. */
export async function readWavSources(paths: readonly string[], options: WavSourceOptions = {}): Promise<WavSource[]> {
  const sources: WavSource[] = [];
  for (const path of paths) sources.push(await readWavSource(path, options));
  return sources;
}

/** `dir/x.wav` -> `dir/x.txt`. */
export function transcriptPath(wavPath: string): string {
  return `${wavPath.replace(/\.wav$/i, "")}.txt`;
}

/** The sidecar's text on one line; undefined when there is no such file or nothing in it. Throws WavSourceError. */
export async function readTranscript(wavPath: string): Promise<string | undefined> {
  const path = transcriptPath(wavPath);
  try {
    const { size } = await stat(path);
    if (size > TRANSCRIPT_BYTES_MAX) {
      const problem = `the transcript has ${size} bytes; at most ${TRANSCRIPT_BYTES_MAX} are read`;
      throw new WavSourceError("too_large", path, problem, "Keep one utterance to a file");
    }
    return (await readFile(path, "utf8")).replace(/\s+/g, " ").trim() || undefined;
  } catch (cause) {
    if (cause instanceof WavSourceError) throw cause;
    if (codeOf(cause) === "ENOENT") return undefined;
    throw new WavSourceError("unreadable", path, "the transcript cannot be read", "Check its permissions", cause);
  }
}

async function parse(path: string) {
  try {
    return parseWav(await readFile(path));
  } catch (cause) {
    if (cause instanceof WavError) {
      throw new WavSourceError(cause.code, path, withoutRemedy(cause), cause.remedy, cause);
    }
    if (codeOf(cause) === "ENOENT") {
      throw new WavSourceError("missing", path, "there is no such file", "Check the path, or record it first", cause);
    }
    const problem = codeOf(cause) === "EISDIR" ? "this is a directory, not a WAV" : "the file cannot be read";
    throw new WavSourceError("unreadable", path, problem, "Name a readable WAV file", cause);
  }
}

function withoutRemedy(error: WavError): string {
  const problem = error.message.slice(0, error.message.length - error.remedy.length).replace(/\. $/, "");
  return problem.charAt(0).toLowerCase() + problem.slice(1);
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
