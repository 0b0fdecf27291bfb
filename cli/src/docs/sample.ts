/** A small legal example of a message, as protobuf JSON with the contracts' field names. */
import { type Contracts, limitsOf, resolveType } from "./contracts.ts";
import type { ProtoField, ProtoMessage } from "./proto-source.ts";

type Json = string | number | boolean | Json[] | { [name: string]: Json };

const depthMax = 6;

/** What no rule of a field tells, by message and field. */
const told: Readonly<Record<string, Readonly<Record<string, Json>>>> = {
  "rspp.registry.v1.PublishPipelineRequest": { source: "c2NoZW1hOiByc3BwL3BpcGVsaW5lL3YxCg==", source_format: "yaml" },
  "rspp.registry.v1.ValidatePipelineRequest": { source: "c2NoZW1hOiByc3BwL3BpcGVsaW5lL3YxCg==", strict: true },
  "rspp.runtime.v1.ProposeTurnRequest": { say: "We close in five minutes." },
};

/** Texts by field name, where it has no example of its own. */
const texts: Readonly<Record<string, string>> = {
  tenant_id: "local",
  session_id: "ses_1",
  name: "voice-assistant",
  pipeline_name: "voice-assistant",
  pipeline_version: "voice-assistant@1",
  idempotency_key: "request-1",
  instance_id: "runtime-1",
  provider: "local/flite",
  transport: "websocket",
};

/** @param name full name of a message. */
export function sampleOf(name: string, contracts: Contracts, depth = 0): { [name: string]: Json } {
  const message = contracts.messages.get(name);
  if (message === undefined || depth > depthMax) return {};
  const sample: { [name: string]: Json } = {};
  for (const field of fieldsShown(message)) sample[field.name] = sampleValue(field, name, contracts, depth);
  return { ...sample, ...told[name] };
}

/** Those that must be set, and the first of each oneof. */
function fieldsShown({ fields }: ProtoMessage): ProtoField[] {
  const oneofs = new Set<string>();
  return fields.filter((field) => {
    if (field.oneof !== "") {
      if (oneofs.has(field.oneof)) return false;
      oneofs.add(field.oneof);
      return true;
    }
    const limits = limitsOf(field);
    if (limits.includes("required")) return true;
    if (field.name === "name" && limits.some((limit) => limit.startsWith("pattern"))) return true;
    if (/(?:^|_)name$/.test(field.name) && limits.some((limit) => limit.startsWith("pattern"))) return true;
    return limits.some((limit) => /^(?:min_len|min_items|len|gte|gt) (?!0$)/.test(limit));
  });
}

function sampleValue(field: ProtoField, within: string, contracts: Contracts, depth: number): Json {
  const one = single(field, within, contracts, depth);
  return field.repeated ? [one] : one;
}

function single(field: ProtoField, within: string, contracts: Contracts, depth: number): Json {
  const { type } = field;
  const full = resolveType(type, within, contracts);
  const found = contracts.enums.get(full);
  if (found !== undefined) return found.values[1]?.name ?? 0;
  if (contracts.messages.has(full)) return sampleOf(full, contracts, depth + 1);
  if (type.startsWith("map<")) return {};
  const least = Number(
    limitsOf(field)
      .find((limit) => /^gte? /.test(limit))
      ?.split(" ")[1] ?? 1,
  );
  switch (type) {
    case "string":
      return textOf(field);
    case "bytes":
      return `${"A".repeat(42)}A=`;
    case "bool":
      return true;
    case "uint64":
    case "int64":
      return String(least);
    default:
      return /^(?:u?int|double|float)/.test(type) ? least : {};
  }
}

function textOf({ name, about }: ProtoField): string {
  const example = /e\.g\. `([^`…]+)`/.exec(about)?.[1];
  return texts[name] ?? example ?? `${name.replace(/_id$/, "")}-1`;
}
