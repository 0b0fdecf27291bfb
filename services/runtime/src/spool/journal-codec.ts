import type { MonoNs, WallMs } from "@rspp/base/brand";
import type { Batch, Input, InputBody } from "@rspp/kernel/input";
import type { Fact } from "@rspp/kernel/pure-functions";
import type { JournalEntry } from "@rspp/kernel/replay";
import { LineBuffer } from "./line-buffer.ts";

/**
 * Journal entries as lines of JSON. A frame makes two entries every 20 ms, so entries that hold nothing but the inputs of
 * steady listening are written as arrays: `[index, monoNs, wallMs, digest, inputs]`, each input `[code, seq, nanoseconds
 * and milliseconds before the batch, …fields]`. All others are the entry itself.
 */
const codeAudio = 0;
const codeActivity = 1;
const codeDone = 2;
const codeTimer = 3;
const open = 0x5b;
const close = 0x5d;
const comma = 0x2c;

const scratch = new LineBuffer();

export function encodeEntry(entry: JournalEntry): string {
  if (entry.fault !== undefined) return JSON.stringify(entry);
  scratch.clear();
  writeEntry(scratch, entry.batch, entry.facts, entry.digest);
  return scratch.view().toString("utf8");
}

/** The same into a buffer, for an entry without fault. */
export function writeEntry(to: LineBuffer, batch: Batch, facts: readonly Fact[], digest: string): void {
  const { index, monoNs, wallMs, inputs } = batch;
  if (facts.length > 0 || !inputs.every(isSteady)) return to.utf8(JSON.stringify({ batch, facts, digest }));
  to.byte(open);
  to.number(index);
  field(to, monoNs);
  field(to, wallMs);
  to.ascii(',"');
  to.ascii(digest);
  to.ascii('",[');
  for (let i = 0; i < inputs.length; i++) {
    if (i > 0) to.byte(comma);
    const input = inputs[i] as Input;
    to.byte(open);
    to.number(codeOf(input.body));
    field(to, input.seq);
    field(to, monoNs - input.monoNs);
    field(to, wallMs - input.wallMs);
    writeBody(to, input.body);
    to.byte(close);
  }
  to.ascii("]]");
}

function field(to: LineBuffer, n: number): void {
  to.byte(comma);
  to.number(n);
}

function stringField(to: LineBuffer, text: string): void {
  to.byte(comma);
  to.string(text);
}

/** Whether an input has its short form. */
function isSteady({ body }: Input): boolean {
  if (body.type === "node_emitted") return body.body.type === "activity" && Number.isFinite(body.body.probability);
  return body.type === "audio" || body.type === "node_done" || body.type === "timer";
}

function codeOf(body: InputBody): number {
  if (body.type === "audio") return codeAudio;
  if (body.type === "node_emitted") return codeActivity;
  return body.type === "node_done" ? codeDone : codeTimer;
}

function writeBody(to: LineBuffer, body: InputBody): void {
  switch (body.type) {
    case "audio": {
      const { format, payload } = body;
      field(to, body.epoch);
      field(to, body.sequence);
      field(to, body.mediaUs);
      field(to, body.durationUs);
      stringField(to, format.codec);
      field(to, format.rateHz);
      field(to, format.channels);
      field(to, payload.ref);
      stringField(to, payload.hash);
      field(to, payload.bytes);
      return stringField(to, body.key);
    }
    case "node_emitted": {
      const event = body.body;
      if (event.type !== "activity") return;
      field(to, body.command);
      field(to, body.index);
      stringField(to, body.port);
      field(to, event.speech ? 1 : 0);
      field(to, event.probability);
      field(to, event.mediaUs);
      return field(to, event.durationUs);
    }
    case "node_done":
      return field(to, body.command);
    case "timer":
      return stringField(to, body.id);
    default:
      return;
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
