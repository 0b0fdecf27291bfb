/** The kernel's journal <-> `JournalBatch`: stamps as fields, what the kernel was given as canonical JSON (kernel.md §12). */
import { create } from "@bufbuild/protobuf";
import type { MonoNs, WallMs } from "@rspp/base/brand";
import { canonicalJson } from "@rspp/base/canonical-json";
import { err, ok, type Result } from "@rspp/base/result";
import {
  type InputKind,
  type JournalBatch,
  JournalBatchSchema,
  type JournaledInput,
  JournaledInputSchema,
} from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { Input, InputBody, InputType } from "@rspp/kernel/input";
import { QUANTUM_DISPATCHES } from "@rspp/kernel/limits";
import type { Fact } from "@rspp/kernel/pure-functions";
import type { JournalEntry } from "@rspp/kernel/replay";
import { inputKindNames } from "./names.ts";
import { safeNumber } from "./numbers.ts";
import { validate } from "./validate.ts";
import { refuseField, type WireError, wireError } from "./wire-error.ts";

/** Schema of a journaled input's body. A body of another schema needs the build that wrote it. */
export const INPUT_BODY_SCHEMA = "kernel-input/1";

const kindOf: Readonly<Record<InputType, string>> = {
  audio: "ingress_event",
  control: "ingress_event",
  delivery: "delivery_report",
  fence_ack: "delivery_report",
  node_emitted: "node_emitted",
  node_done: "node_done",
  node_failed: "node_failed",
  node_ready: "node_ready",
  node_stopped: "node_stopped",
  cancel_acked: "cancel_acked",
  provider_chunk: "provider_chunk",
  provider_outcome: "provider_outcome",
  timer: "timer_fired",
  authority: "authority_update",
  snapshot: "snapshot_update",
  capacity: "capacity_update",
  append_failed: "append_failed",
  recording_pressure: "recording_pressure",
  recording_capture: "operator_command",
  proposal: "proposal",
  operator: "operator_command",
};

const text = new TextEncoder();

/** One step of the journal. Refuses what the contract cannot hold, such as an input past its size. */
export function journalToWire(entry: JournalEntry): Result<JournalBatch, WireError> {
  const { batch } = entry;
  const message = create(JournalBatchSchema, {
    batchSequence: BigInt(batch.index),
    quantum: QUANTUM_DISPATCHES,
    inputs: batch.inputs.map(inputToWire),
    facts: text.encode(canonicalJson(entry.facts)),
    rollingDigest: entry.digest,
    monotonicNs: BigInt(batch.monoNs),
    wallMs: BigInt(batch.wallMs),
  });
  return validate(JournalBatchSchema, message);
}

function inputToWire(input: Input): JournaledInput {
  const { body } = input;
  const message = create(JournaledInputSchema, {
    kind: (inputKindNames.number(kindOf[body.type]) ?? 0) as InputKind,
    inputSequence: BigInt(input.seq),
    monotonicNs: BigInt(input.monoNs),
    wallMs: BigInt(input.wallMs),
    bodySchema: INPUT_BODY_SCHEMA,
    body: text.encode(canonicalJson(body)),
  });
  if ("command" in body && typeof body.command === "number") message.commandId = String(body.command);
  if ("index" in body) message.index = body.index;
  message.sourceId = sourceOf(body);
  return message;
}

/** Node, invocation or timer an input came from; names from outside are cut to the contract's bound. */
function sourceOf(body: InputBody): string {
  switch (body.type) {
    case "provider_chunk":
    case "provider_outcome":
      return String(body.invocation);
    case "node_stopped":
      return body.node.slice(0, 128);
    case "timer":
      return body.id.slice(0, 128);
    default:
      return "";
  }
}

/** The journal entry of a batch; refuses other body schemas and bodies that do not fit their kind. */
export function journalFromWire(message: JournalBatch): Result<JournalEntry, WireError> {
  const valid = validate(JournalBatchSchema, message);
  if (!valid.ok) return valid;
  const inputs: Input[] = [];
  for (const [i, item] of message.inputs.entries()) {
    const input = inputFromWire(item, `inputs[${i}]`);
    if (!input.ok) return input;
    inputs.push(input.value);
  }
  const facts = parseCanonical(message.facts, "facts");
  if (!facts.ok) return facts;
  if (!Array.isArray(facts.value)) return malformed("facts", "is no list");
  const index = safeNumber(message.batchSequence);
  const monoNs = safeNumber(message.monotonicNs);
  const wallMs = safeNumber(message.wallMs);
  if (index === null || monoNs === null || wallMs === null) return malformed("batch", "has a number past 2^53 - 1");
  return ok({
    batch: { index, monoNs: monoNs as MonoNs, wallMs: wallMs as WallMs, inputs },
    facts: facts.value as Fact[],
    digest: message.rollingDigest,
  });
}

function inputFromWire(message: JournaledInput, path: string): Result<Input, WireError> {
  if (message.bodySchema !== INPUT_BODY_SCHEMA) {
    return refuseField(
      `${path}.body_schema`,
      "journal.body_schema",
      `is not ${INPUT_BODY_SCHEMA}`,
      "replay it with the build that wrote it",
    );
  }
  const body = parseCanonical(message.body, `${path}.body`);
  if (!body.ok) return body;
  const type = typeof body.value === "object" && body.value !== null && "type" in body.value ? body.value.type : null;
  const expected = typeof type === "string" && Object.hasOwn(kindOf, type) ? kindOf[type as InputType] : null;
  if (expected === null || expected !== inputKindNames.name(message.kind)) {
    return malformed(`${path}.body`, "is not of the kind it is filed under");
  }
  const seq = safeNumber(message.inputSequence);
  const monoNs = safeNumber(message.monotonicNs);
  const wallMs = safeNumber(message.wallMs);
  if (seq === null || monoNs === null || wallMs === null) return malformed(path, "has a number past 2^53 - 1");
  return ok({ seq, monoNs: monoNs as MonoNs, wallMs: wallMs as WallMs, body: body.value as InputBody });
}

/** Bytes of canonical JSON to their value; bytes that are JSON, but not in canonical form, are refused. */
export function parseCanonical(bytes: Uint8Array, path: string): Result<unknown, WireError> {
  try {
    const json = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const value: unknown = JSON.parse(json);
    // One value has one form, or a hash over it would mean nothing.
    if (canonicalJson(value) === json) return ok(value);
    return malformed(path, "is JSON, but not in canonical form");
  } catch {
    return malformed(path, "is no canonical JSON");
  }
}

function malformed(path: string, problem: string): { readonly ok: false; readonly error: WireError } {
  return err(wireError("malformed_frame", { field: path, problem }));
}
