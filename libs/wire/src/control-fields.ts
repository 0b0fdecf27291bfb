/** The fields of a control signal: the kernel's name and value of each <-> the contract's. */
import { create } from "@bufbuild/protobuf";
import { ok, type Result } from "@rspp/base/result";
import { SequenceRangeSchema } from "@rspp/gen/rspp/common/v1/reference_pb";
import { BudgetLeftSchema, type Control } from "@rspp/gen/rspp/event/v1/control_pb";
import { MediaTimeSchema } from "@rspp/gen/rspp/event/v1/media_time_pb";
import { cancelScopeNames, type EnumNames, laneNames, levelNames, originNames, triggerNames } from "./names.ts";
import { mediaTimeFromWire, safeNumber } from "./numbers.ts";
import { refuseField, type WireError } from "./wire-error.ts";
import { mediaTimeUs } from "./wire-event.ts";

type Value = string | number;
type Fields = Readonly<Record<string, Value>>;
/** "written", "unknown" (no field of its own), or what is wrong with the value. */
type Written = "written" | "unknown" | (string & {});
type Writer = (message: Control, value: Value, fields: Fields) => string | null;

const contractNames: Readonly<Record<string, string>> = {
  scope: "cancel_scope",
  lastMediaSequence: "last_media_sequence",
  lastDataSequence: "last_data_sequence",
  edge: "edge_id",
  node: "node_id",
  edgeOrNode: "edge_id or node_id",
  fromSequence: "sequence_range",
  toSequence: "sequence_range",
  syncDomain: "sync_domain",
  discontinuityId: "discontinuity_id",
  provider: "provider_id",
  invocation: "invocation_id",
  epochOld: "epoch_old",
  epochNew: "epoch_new",
  mediaUs: "media_time",
  policyId: "recording_policy_id",
  levelOld: "recording_level_old",
  levelNew: "recording_level_new",
  trigger: "recording_trigger",
  budgetLeft: "budget_left",
  namespaced: "transport_fields",
};

/** The contract's name of a kernel field; `scope` among the fields is what a cancel cancels. */
export function contractField(name: string): string {
  return Object.hasOwn(contractNames, name) ? (contractNames[name] ?? name) : name;
}

const notWhole = "must be a whole number from 0";
const whole = (value: Value): value is number => typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

function enumWriter(names: EnumNames, set: (message: Control, number: number) => void): Writer {
  return (message, value) => {
    const number = names.number(String(value));
    if (number === undefined || number === 0) return `must be one of ${names.names.join(", ")}`;
    set(message, number);
    return null;
  };
}

function wholeWriter(set: (message: Control, value: bigint) => void): Writer {
  return (message, value) => {
    if (!whole(value)) return notWhole;
    set(message, BigInt(value));
    return null;
  };
}

function textWriter(set: (message: Control, value: string) => void): Writer {
  return (message, value) => {
    const text = String(value);
    const points = Array.from(text).length;
    if (points < 1 || points > 128 || !text.isWellFormed()) return "must be text of 1 to 128 characters";
    set(message, text);
    return null;
  };
}

const range: Writer = (message, _value, fields) => {
  const first = fields.fromSequence;
  const last = fields.toSequence;
  if (first === undefined || last === undefined || !whole(first) || !whole(last)) return notWhole;
  message.sequenceRange ??= create(SequenceRangeSchema, { first: BigInt(first), last: BigInt(last) });
  return null;
};

/** Amounts of a budget. The kernel counts time in milliseconds. */
function budgetWriter(name: "tokens" | "audioMs" | "characters" | "costMicros"): Writer {
  return (message, value) => {
    if (!whole(value)) return notWhole;
    message.budgetLeft ??= create(BudgetLeftSchema);
    message.budgetLeft[name] = BigInt(value);
    return null;
  };
}

const budgetTime: Writer = (message, value) => {
  const us = typeof value === "number" ? Math.round(value * 1000) : Number.NaN;
  if (!Number.isSafeInteger(us)) return "must be milliseconds";
  message.budgetLeft ??= create(BudgetLeftSchema);
  message.budgetLeft.timeUs = BigInt(us);
  return null;
};

const writers: Readonly<Record<string, Writer>> = {
  origin: enumWriter(originNames, (m, n) => {
    m.origin = n;
  }),
  scope: enumWriter(cancelScopeNames, (m, n) => {
    m.cancelScope = n;
  }),
  lane: enumWriter(laneNames, (m, n) => {
    m.lane = n;
  }),
  levelOld: enumWriter(levelNames, (m, n) => {
    m.recordingLevelOld = n;
  }),
  levelNew: enumWriter(levelNames, (m, n) => {
    m.recordingLevelNew = n;
  }),
  trigger: enumWriter(triggerNames, (m, n) => {
    m.recordingTrigger = n;
  }),
  lastMediaSequence: wholeWriter((m, n) => {
    m.lastMediaSequence = n;
  }),
  lastDataSequence: wholeWriter((m, n) => {
    m.lastDataSequence = n;
  }),
  epochOld: wholeWriter((m, n) => {
    m.epochOld = n;
  }),
  epochNew: wholeWriter((m, n) => {
    m.epochNew = n;
  }),
  mediaUs: wholeWriter((m, n) => {
    m.mediaTime = create(MediaTimeSchema, { position: { case: "ptsUs", value: n } });
  }),
  amount: (message, value) => {
    if (!whole(value) || value < 1 || value > 1_000_000) return "must be a whole number from 1 to 1000000";
    message.amount = value;
    return null;
  },
  edge: textWriter((m, t) => {
    m.edgeId = t;
  }),
  node: textWriter((m, t) => {
    m.nodeId = t;
  }),
  syncDomain: textWriter((m, t) => {
    m.syncDomain = t;
  }),
  discontinuityId: textWriter((m, t) => {
    m.discontinuityId = t;
  }),
  provider: textWriter((m, t) => {
    m.providerId = t;
  }),
  invocation: textWriter((m, t) => {
    m.invocationId = t;
  }),
  policyId: textWriter((m, t) => {
    m.recordingPolicyId = t;
  }),
  fromSequence: range,
  toSequence: range,
  budgetLeft: budgetTime,
  budgetTokens: budgetWriter("tokens"),
  budgetAudioMs: budgetWriter("audioMs"),
  budgetCharacters: budgetWriter("characters"),
  budgetCostMicros: budgetWriter("costMicros"),
};

const namespacedPattern = /^[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)+$/;

/** Whether a fact could be taken for a field of the contract; such a one may never come in an extension. */
export function isOwnField(name: string): boolean {
  return (
    Object.hasOwn(writers, name) || name.includes(".") || name === "reason" || name === "signal" || name === "emitter"
  );
}

/** Writes one field of the kernel into `message`. */
export function writeField(message: Control, name: string, value: Value, fields: Fields): Written {
  if (namespacedPattern.test(name)) {
    const text = String(value);
    if (!text.isWellFormed()) return "must be text";
    message.transportFields[name] = text;
    return "written";
  }
  if (name.includes(".")) return "must be named by a namespace and a name in lower case, e.g. dtmf.digit";
  const writer = Object.hasOwn(writers, name) ? writers[name] : undefined;
  if (writer === undefined) return "unknown";
  return writer(message, value, fields) ?? "written";
}

/** Reads all fields that are set, by the kernel's names. */
export function readFields(m: Control): Result<Record<string, Value>, WireError> {
  const fields: Record<string, Value> = {};
  readTexts(m, fields);
  const wholes: readonly (readonly [string, bigint | undefined])[] = [
    ["lastMediaSequence", m.lastMediaSequence],
    ["lastDataSequence", m.lastDataSequence],
    ["epochOld", m.epochOld],
    ["epochNew", m.epochNew],
    ["fromSequence", m.sequenceRange?.first],
    ["toSequence", m.sequenceRange?.last],
    ["budgetTokens", positive(m.budgetLeft?.tokens)],
    ["budgetAudioMs", positive(m.budgetLeft?.audioMs)],
    ["budgetCharacters", positive(m.budgetLeft?.characters)],
    ["budgetCostMicros", positive(m.budgetLeft?.costMicros)],
  ];
  for (const [name, value] of wholes) {
    if (value === undefined) continue;
    const number = safeNumber(value);
    if (number === null) return tooLarge(name);
    fields[name] = number;
  }
  if (m.budgetLeft !== undefined) {
    const us = safeNumber(m.budgetLeft.timeUs);
    if (us === null) return tooLarge("budgetLeft");
    fields.budgetLeft = us / 1000;
  }
  if (m.mediaTime !== undefined) {
    const time = mediaTimeFromWire(m.mediaTime);
    const us = time === null ? null : mediaTimeUs(time);
    if (us === null) return tooLarge("mediaUs");
    fields.mediaUs = us;
  }
  if (m.amount !== undefined) fields.amount = m.amount;
  for (const [name, value] of Object.entries(m.transportFields)) fields[name] = value;
  return ok(fields);
}

function readTexts(m: Control, fields: Record<string, Value>): void {
  const texts: readonly (readonly [string, string | undefined])[] = [
    ["origin", m.origin === undefined ? undefined : originNames.name(m.origin)],
    ["scope", m.cancelScope === undefined ? undefined : cancelScopeNames.name(m.cancelScope)],
    ["lane", m.lane === undefined ? undefined : laneNames.name(m.lane)],
    ["levelOld", m.recordingLevelOld === undefined ? undefined : levelNames.name(m.recordingLevelOld)],
    ["levelNew", m.recordingLevelNew === undefined ? undefined : levelNames.name(m.recordingLevelNew)],
    ["trigger", m.recordingTrigger === undefined ? undefined : triggerNames.name(m.recordingTrigger)],
    ["edge", m.edgeId],
    ["node", m.nodeId],
    ["syncDomain", m.syncDomain],
    ["discontinuityId", m.discontinuityId],
    ["provider", m.providerId],
    ["invocation", m.invocationId],
    ["policyId", m.recordingPolicyId],
  ];
  for (const [name, value] of texts) if (value !== undefined) fields[name] = value;
}

function positive(amount: bigint | undefined): bigint | undefined {
  return amount === 0n ? undefined : amount;
}

function tooLarge(name: string): { readonly ok: false; readonly error: WireError } {
  return refuseField(
    `control.${contractField(name)}`,
    "uint64.safe",
    "is past 2^53 - 1, the largest number compared exactly",
    "send a smaller number",
  );
}
