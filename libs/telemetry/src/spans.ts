/**
 * Spans as the platform makes them: with instants of its own clock, and parents named by `traceparent`, so that a parent in
 * another process and one in this are the same to whoever starts a child.
 */

export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

export interface SpanStart {
  /** Static text, e.g. `rspp.turn`; what varies is an attribute. */
  readonly name: string;
  /** Default internal. */
  readonly kind?: "internal" | "client" | "server";
  /** W3C `traceparent`; null or malformed: a trace of its own. */
  readonly parent: string | null;
  /** Milliseconds since 1970 UTC, with fractions. */
  readonly atMs: number;
  readonly attributes?: SpanAttributes;
}

export interface OpenSpan {
  /** Of this span; what its children and other processes name it by. */
  readonly traceparent: string;
  /** Never payload, never a secret. */
  set(attributes: SpanAttributes): void;
  rename(name: string): void;
  event(name: string, atMs: number, attributes?: SpanAttributes): void;
  /** Exactly once. `error`: the reason by its name, where it failed. */
  end(atMs: number, error?: string): void;
}

export interface SpanSource {
  start(start: SpanStart): OpenSpan;
}

const pattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean;
}

/** W3C Trace Context, version 00 and what later versions keep of it; null when it is none. */
export function readTraceparent(text: string | null | undefined): TraceParent | null {
  const found = pattern.exec(text ?? "");
  if (found === null) return null;
  const [, version = "", traceId = "", spanId = "", flags = "", more] = found;
  if (version === "ff" || (version === "00" && more !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export function writeTraceparent({ traceId, spanId, sampled }: TraceParent): string {
  return `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
}
