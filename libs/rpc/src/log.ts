/** Logs: static messages with structured fields (style.md, habit 12); field sensitivity decides what may be printed (F-117). */
import { type DescField, type DescMessage, getOption, hasOption, type Message } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { InvariantError } from "@rspp/base/invariant";
import { Sensitivity, sensitivity } from "@rspp/gen/rspp/common/v1/sensitivity_pb";
import { type DestinationStream, type Logger, pino } from "pino";
import { RpcError } from "./errors.ts";
import { limits } from "./limits.ts";

export type LogFields = Readonly<Record<string, unknown>>;

/** What this room needs of a logger; pino's fits. */
export interface Log {
  /** Whether a line of that level is printed; asked before costly fields are made. */
  isLevelEnabled(level: string): boolean;
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export interface LogOptions {
  /** Service name; on every line. */
  readonly service: string;
  readonly instance?: string;
  /** Default info. */
  readonly level?: "debug" | "info" | "warn" | "error" | "silent";
  readonly destination?: DestinationStream;
}

/** JSON lines on standard output, or to `destination`. */
export function createLog(options: LogOptions): Logger {
  const { service, instance, level = "info", destination } = options;
  const settings = {
    level,
    base: { service, ...(instance === undefined ? {} : { instance }) },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    // Errors are given as fields of describeFailure: pino's own form would print their text.
    serializers: {},
  };
  return destination === undefined ? pino(settings) : pino(settings, destination);
}

/** A logger that says nothing. */
export const silentLog: Log = {
  isLevelEnabled: () => false,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/**
 * What may be said of a failure: its kind, its place in the code, and the text of those errors whose text is made of
 * constants. The text of any other may hold what it failed on: a key, a transcript, an address with a password.
 */
export function describeFailure(failure: unknown): LogFields {
  if (failure instanceof RpcError) {
    const { reason, domain } = failure.detail;
    return { error: failure.message, reason, domain, ...(failure.cause === undefined ? {} : causeOf(failure.cause)) };
  }
  return causeOf(failure);
}

function causeOf(failure: unknown): LogFields {
  if (!(failure instanceof Error)) return { cause: typeof failure };
  const code = "code" in failure && typeof failure.code === "string" ? { cause_code: failure.code } : {};
  const text = failure instanceof InvariantError ? { cause_text: failure.expected } : {};
  const frames = (failure.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return { cause: failure.name, ...code, ...text, stack: frames.slice(0, 12).map((line) => line.trim()) };
}

const hidden: Readonly<Record<number, string>> = {
  [Sensitivity.PERSONAL]: "[personal]",
  [Sensitivity.SECRET]: "[secret]",
};

/** Who may see a field; a field without the option is PUBLIC. */
export function sensitivityOf(field: DescField): Sensitivity {
  return hasOption(field, sensitivity) ? getOption(field, sensitivity) : Sensitivity.PUBLIC;
}

/**
 * A message as log fields, by its contract's names: PERSONAL and SECRET fields by the word alone, bytes by their length,
 * texts and lists cut.
 */
export function describeMessage(schema: DescMessage, message: Message): LogFields {
  return describe(reflect(schema, message), limits.LOG_DEPTH_MAX);
}

function describe(message: ReflectMessage, depth: number): LogFields {
  const out: Record<string, unknown> = {};
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    out[field.name] = hidden[sensitivityOf(field)] ?? describeField(message, field, depth);
  }
  return out;
}

function describeField(message: ReflectMessage, field: DescField, depth: number): unknown {
  if (field.fieldKind === "list") {
    const list = message.get(field);
    const items = [...list].slice(0, limits.LOG_LIST_ITEMS_MAX).map((item) => describeValue(item, depth));
    return list.size > items.length ? [...items, `[${list.size - items.length} more]`] : items;
  }
  if (field.fieldKind === "map") return `[${message.get(field).size} entries]`;
  if (field.fieldKind === "enum") {
    const number = message.get(field);
    return field.enum.value[Number(number)]?.name ?? number;
  }
  return describeValue(message.get(field), depth);
}

function describeValue(value: unknown, depth: number): unknown {
  if (typeof value === "string") {
    const max = limits.LOG_TEXT_CHARS_MAX;
    return value.length > max ? `${value.slice(0, max)}…` : value;
  }
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return `[${value.length} bytes]`;
  if (typeof value !== "object" || value === null) return value;
  if (!("fields" in value && "desc" in value)) return "[…]";
  // Free-form values of any shape carry no sensitivity of their own, so nothing of them is shown.
  const nested = value as ReflectMessage;
  if (nested.desc.typeName.startsWith("google.protobuf.")) return `[${nested.desc.name}]`;
  return depth <= 1 ? "[…]" : describe(nested, depth - 1);
}
