import {
  type OpenSpan,
  readTraceparent,
  type SpanAttributes,
  type SpanSource,
  type SpanStart,
  writeTraceparent,
} from "../spans.ts";

export interface RecordedSpan {
  name: string;
  readonly kind: string;
  readonly parent: string | null;
  readonly traceparent: string;
  readonly startMs: number;
  /** -1 while open. */
  endMs: number;
  error: string;
  attributes: Record<string, string | number | boolean>;
  readonly events: { name: string; atMs: number; attributes: SpanAttributes }[];
}

/** Spans kept as they are made, with ids that count up. */
export class RecordedSpans implements SpanSource {
  readonly all: RecordedSpan[] = [];

  start({ name, kind = "internal", parent, atMs, attributes }: SpanStart): OpenSpan {
    const number = this.all.length + 1;
    const known = readTraceparent(parent);
    const spanId = number.toString(16).padStart(16, "0");
    const traceId = known?.traceId ?? number.toString(16).padStart(32, "0");
    const traceparent = writeTraceparent({ traceId, spanId, sampled: known?.sampled ?? true });
    const span: RecordedSpan = {
      name,
      kind,
      parent,
      traceparent,
      startMs: atMs,
      endMs: -1,
      error: "",
      attributes: { ...attributes },
      events: [],
    };
    this.all.push(span);
    return {
      traceparent,
      set: (more) => Object.assign(span.attributes, more),
      rename: (to) => {
        span.name = to;
      },
      event: (event, eventMs, more = {}) => void span.events.push({ name: event, atMs: eventMs, attributes: more }),
      end(endMs, error = "") {
        if (span.endMs !== -1) throw new Error(`${span.name} is ended twice`);
        span.endMs = endMs;
        span.error = error;
      },
    };
  }

  named(name: string): RecordedSpan[] {
    return this.all.filter((span) => span.name === name);
  }
}
