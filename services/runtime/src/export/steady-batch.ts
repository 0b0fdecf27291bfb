/**
 * Steps of steady listening, which the spool keeps as arrays (`spool/journal-codec.ts`), as the contract's batches: nine
 * records of ten. The same message as by way of the kernel's objects, their canonical form and the contract's rules, at a
 * fraction of the work: fields are checked one by one here, and what is out of the ordinary takes the long way.
 */
import { create } from "@bufbuild/protobuf";
import {
  type InputKind,
  type JournalBatch,
  JournalBatchSchema,
  type JournaledInput,
  JournaledInputSchema,
} from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { QUANTUM_DISPATCHES } from "@rspp/kernel/limits";
import { INPUT_BODY_SCHEMA } from "@rspp/wire/journal";
import { inputKindNames } from "@rspp/wire/names";

const inputsMax = 4_096;
const textMax = 1_024;
const nameMax = 128;
const indexMax = 4_294_967_295;
const text = new TextEncoder();
const noFacts = text.encode("[]");
const kinds = ["ingress_event", "node_emitted", "node_done", "timer_fired"].map(
  (name) => (inputKindNames.number(name) ?? 0) as InputKind,
);

/** Null for whatever is not the spool's short form, well within the contract's bounds. @param line as it was parsed. */
export function steadyBatch(line: unknown): JournalBatch | null {
  if (!Array.isArray(line)) return null;
  const [index, monoNs, wallMs, digest, list] = line as unknown[];
  if (!isCount(index) || index === 0 || !isCount(monoNs) || !isCount(wallMs)) return null;
  if (typeof digest !== "string" || digest.length > 64 || !Array.isArray(list) || list.length > inputsMax) return null;
  const inputs: JournaledInput[] = [];
  for (const one of list as unknown[]) {
    const input = Array.isArray(one) ? inputOf(one as unknown[], monoNs, wallMs) : null;
    if (input === null) return null;
    inputs.push(input);
  }
  const batch = create(JournalBatchSchema);
  batch.batchSequence = BigInt(index);
  batch.quantum = QUANTUM_DISPATCHES;
  batch.inputs = inputs;
  batch.facts = noFacts;
  batch.rollingDigest = digest;
  batch.monotonicNs = BigInt(monoNs);
  batch.wallMs = BigInt(wallMs);
  return batch;
}

function inputOf(fields: unknown[], monoNs: number, wallMs: number): JournaledInput | null {
  const [code, seq, ns, ms] = fields;
  if (!isCount(seq) || seq === 0 || !Number.isSafeInteger(ns) || !Number.isSafeInteger(ms)) return null;
  const atNs = monoNs - (ns as number);
  const atMs = wallMs - (ms as number);
  if (!isCount(atNs) || !isCount(atMs) || typeof code !== "number") return null;
  const input = create(JournaledInputSchema);
  const body = bodyOf(code, fields, input);
  if (body === null) return null;
  input.kind = kinds[code] ?? (0 as InputKind);
  input.inputSequence = BigInt(seq);
  input.monotonicNs = BigInt(atNs);
  input.wallMs = BigInt(atMs);
  input.bodySchema = INPUT_BODY_SCHEMA;
  input.body = text.encode(body);
  return input;
}

/** The canonical form of the input: its fields in the order of their names. */
function bodyOf(code: number, fields: unknown[], input: JournaledInput): string | null {
  switch (code) {
    case 0:
      return audio(fields);
    case 1:
      return activity(fields, input);
    case 2: {
      const command = fields[4];
      if (!isCount(command)) return null;
      input.commandId = String(command);
      return `{"command":${command},"type":"node_done"}`;
    }
    case 3: {
      const id = fields[4];
      if (!isText(id) || id.length > nameMax) return null;
      input.sourceId = id;
      return `{"id":${JSON.stringify(id)},"type":"timer"}`;
    }
    default:
      return null;
  }
}

function audio(fields: unknown[]): string | null {
  const [, , , , epoch, sequence, mediaUs, durationUs, codec, rateHz, channels, ref, hash, bytes, key] = fields;
  for (const n of [epoch, sequence, mediaUs, durationUs, rateHz, channels, ref, bytes]) if (!isCount(n)) return null;
  if (!isText(codec) || !isText(hash) || !isText(key)) return null;
  const format = `{"channels":${channels},"codec":${JSON.stringify(codec)},"rateHz":${rateHz}}`;
  const payload = `{"bytes":${bytes},"hash":${JSON.stringify(hash)},"ref":${ref}}`;
  return (
    `{"durationUs":${durationUs},"epoch":${epoch},"format":${format},"key":${JSON.stringify(key)},` +
    `"mediaUs":${mediaUs},"payload":${payload},"sequence":${sequence},"type":"audio"}`
  );
}

function activity(fields: unknown[], input: JournaledInput): string | null {
  const [, , , , command, index, port, speech, probability, mediaUs, durationUs] = fields;
  if (!isCount(command) || !isCount(index) || index > indexMax || !isText(port)) return null;
  if (!isCount(mediaUs) || !isCount(durationUs)) return null;
  if (typeof probability !== "number" || !Number.isFinite(probability)) return null;
  input.commandId = String(command);
  input.index = index;
  const body =
    `{"durationUs":${durationUs},"mediaUs":${mediaUs},"probability":${JSON.stringify(probability)},` +
    `"speech":${speech === 1},"type":"activity"}`;
  return `{"body":${body},"command":${command},"index":${index},"port":${JSON.stringify(port)},"type":"node_emitted"}`;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= textMax && value.isWellFormed();
}
