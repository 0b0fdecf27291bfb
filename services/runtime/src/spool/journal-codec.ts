import type { MonoNs, WallMs } from "@rspp/base/brand";
import type { Input, InputBody } from "@rspp/kernel/input";
import type { JournalEntry } from "@rspp/kernel/replay";

/**
 * Journal entries as lines of JSON. A frame makes two entries every 20 ms, so entries that hold nothing but the inputs of
 * steady listening are written as arrays: `[index, monoNs, wallMs, digest, inputs]`, each input `[code, seq, nanoseconds
 * and milliseconds before the batch, …fields]`. All others are the entry itself.
 */
const codeAudio = 0;
const codeActivity = 1;
const codeDone = 2;
const codeTimer = 3;

export function encodeEntry(entry: JournalEntry): string {
  if (entry.facts.length > 0 || entry.fault !== undefined) return JSON.stringify(entry);
  const { index, monoNs, wallMs, inputs } = entry.batch;
  let line = `[${index},${monoNs},${wallMs},"${entry.digest}",[`;
  for (let i = 0; i < inputs.length; i++) {
    const input = inputs[i] as Input;
    const fields = encodeBody(input.body);
    if (fields === null) return JSON.stringify(entry);
    const [code, rest] = fields;
    line += `${i === 0 ? "" : ","}[${code},${input.seq},${monoNs - input.monoNs},${wallMs - input.wallMs},${rest}]`;
  }
  return `${line}]]`;
}

function encodeBody(body: InputBody): [number, string] | null {
  switch (body.type) {
    case "audio": {
      const { format, payload } = body;
      const where = `${body.epoch},${body.sequence},${body.mediaUs},${body.durationUs}`;
      const what = `${JSON.stringify(format.codec)},${format.rateHz},${format.channels},${payload.ref},"${payload.hash}",${payload.bytes}`;
      return [codeAudio, `${where},${what},${JSON.stringify(body.key)}`];
    }
    case "node_emitted": {
      const { command, index, port, body: event } = body;
      if (event.type !== "activity" || !Number.isFinite(event.probability)) return null;
      const what = `${event.speech ? 1 : 0},${event.probability},${event.mediaUs},${event.durationUs}`;
      return [codeActivity, `${command},${index},${JSON.stringify(port)},${what}`];
    }
    case "node_done":
      return [codeDone, `${body.command}`];
    case "timer":
      return [codeTimer, JSON.stringify(body.id)];
    default:
      return null;
  }
}

/** Null when the parsed line is no entry. */
export function decodeEntry(line: unknown): JournalEntry | null {
  if (!Array.isArray(line)) return isEntry(line) ? line : null;
  const [index, monoNs, wallMs, digest, list] = line as unknown[];
  if (!isNumber(index) || !isNumber(monoNs) || !isNumber(wallMs) || typeof digest !== "string") return null;
  if (!Array.isArray(list)) return null;
  const inputs: Input[] = [];
  for (const one of list as unknown[]) {
    const input = Array.isArray(one) ? decodeInput(one, monoNs, wallMs) : null;
    if (input === null) return null;
    inputs.push(input);
  }
  return { batch: { index, monoNs: monoNs as MonoNs, wallMs: wallMs as WallMs, inputs }, facts: [], digest };
}

function decodeInput(fields: unknown[], monoNs: number, wallMs: number): Input | null {
  const [code, seq, ns, ms, ...rest] = fields;
  if (!isNumber(seq) || !isNumber(ns) || !isNumber(ms)) return null;
  const body = decodeBody(code, rest);
  if (body === null) return null;
  return { seq, monoNs: (monoNs - ns) as MonoNs, wallMs: (wallMs - ms) as WallMs, body };
}

function decodeBody(code: unknown, f: unknown[]): InputBody | null {
  if (code === codeAudio) return decodeAudio(f);
  if (code === codeDone) return isNumber(f[0]) ? { type: "node_done", command: f[0] } : null;
  if (code === codeTimer) return typeof f[0] === "string" ? { type: "timer", id: f[0] } : null;
  if (code !== codeActivity) return null;
  const [command, index, port, speech, probability, mediaUs, durationUs] = f;
  if (!isNumber(command) || !isNumber(index) || typeof port !== "string") return null;
  if (!isNumber(probability) || !isNumber(mediaUs) || !isNumber(durationUs)) return null;
  const body = { type: "activity", speech: speech === 1, probability, mediaUs, durationUs } as const;
  return { type: "node_emitted", command, index, port, body };
}

function decodeAudio(f: unknown[]): InputBody | null {
  const [epoch, sequence, mediaUs, durationUs, codec, rateHz, channels, ref, hash, bytes, key] = f;
  if (!isNumber(epoch) || !isNumber(sequence) || !isNumber(mediaUs) || !isNumber(durationUs)) return null;
  if (!isNumber(rateHz) || !isNumber(channels) || !isNumber(ref) || !isNumber(bytes)) return null;
  if (typeof codec !== "string" || typeof hash !== "string" || typeof key !== "string") return null;
  const format = { codec, rateHz, channels };
  const payload = { ref, hash, bytes };
  return { type: "audio", epoch, sequence, mediaUs, durationUs, format, payload, key };
}

function isEntry(line: unknown): line is JournalEntry {
  const entry = line as Partial<JournalEntry> | null;
  const whole = Array.isArray(entry?.facts) && Array.isArray(entry.batch?.inputs);
  return whole && isNumber(entry.batch?.index) && typeof entry.digest === "string";
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}
