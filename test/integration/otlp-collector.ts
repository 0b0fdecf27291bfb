/** An OTLP collector on a real port: takes http/protobuf as it comes and decodes it by the field numbers of OTLP 1. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

export type Value = string | number | boolean | null;

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** "" for none. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Readonly<Record<string, Value>>;
  readonly events: readonly { readonly name: string; readonly atNs: bigint }[];
  /** 0 unset, 1 ok, 2 error. */
  readonly status: number;
  readonly resource: Readonly<Record<string, Value>>;
}

export interface ReceivedPoint {
  readonly name: string;
  readonly unit: string;
  readonly kind: "gauge" | "sum" | "histogram";
  readonly attributes: Readonly<Record<string, Value>>;
  /** Of a histogram its count. */
  readonly value: number;
  readonly resource: Readonly<Record<string, Value>>;
}

export interface Collector {
  readonly url: string;
  readonly spans: ReceivedSpan[];
  /** Of the last export of each. */
  readonly points: Map<string, ReceivedPoint>;
  /** Everything that came, as it came. */
  readonly bodies: Buffer[];
  readonly requests: { path: string; type: string }[];
  /** Answers with this status; default 200. */
  status: number;
  close(): Promise<void>;
}

type Fields = Map<number, (Uint8Array | bigint)[]>;

/** A message of any shape: what stands under each field number, lengths as bytes, numbers as 64 bits. */
function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields: Fields = new Map();
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const values = fields.get(number) ?? [];
    fields.set(number, values);
    if (type === WireType.LengthDelimited) values.push(reader.bytes());
    else if (type === WireType.Bit64) values.push(BigInt(reader.fixed64()));
    else if (type === WireType.Bit32) values.push(BigInt(reader.fixed32()));
    else values.push(BigInt(reader.uint64()));
  }
  return fields;
}

const all = (fields: Fields, number: number): Fields[] =>
  (fields.get(number) ?? []).map((value) => fieldsOf(value as Uint8Array));
const one = (fields: Fields, number: number): Fields => all(fields, number)[0] ?? new Map();
const text = (fields: Fields, number: number): string => Buffer.from(bytesOf(fields, number)).toString("utf8");
const hex = (fields: Fields, number: number): string => Buffer.from(bytesOf(fields, number)).toString("hex");
const big = (fields: Fields, number: number): bigint => (fields.get(number)?.[0] as bigint | undefined) ?? 0n;

function bytesOf(fields: Fields, number: number): Uint8Array {
  return (fields.get(number)?.[0] as Uint8Array | undefined) ?? new Uint8Array(0);
}

function double(bits: bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

function attributesOf(list: readonly Fields[]): Record<string, Value> {
  return Object.fromEntries(list.map((pair) => [text(pair, 1), anyValue(one(pair, 2))]));
}

function anyValue(any: Fields): Value {
  if (any.has(1)) return text(any, 1);
  if (any.has(2)) return big(any, 2) === 1n;
  if (any.has(3)) return Number(big(any, 3));
  return any.has(4) ? double(big(any, 4)) : null;
}

function spansOf(body: Uint8Array): ReceivedSpan[] {
  return all(fieldsOf(body), 1).flatMap((resourceSpans) => {
    const resource = attributesOf(all(one(resourceSpans, 1), 1));
    return all(resourceSpans, 2).flatMap((scope) =>
      all(scope, 2).map((span) => ({
        traceId: hex(span, 1),
        spanId: hex(span, 2),
        parentSpanId: hex(span, 4),
        name: text(span, 5),
        kind: Number(big(span, 6)),
        startNs: big(span, 7),
        endNs: big(span, 8),
        attributes: attributesOf(all(span, 9)),
        events: all(span, 11).map((event) => ({ name: text(event, 2), atNs: big(event, 1) })),
        status: Number(big(one(span, 15), 3)),
        resource,
      })),
    );
  });
}

const kinds = { 5: "gauge", 7: "sum", 9: "histogram" } as const;

function pointsOf(body: Uint8Array): ReceivedPoint[] {
  return all(fieldsOf(body), 1).flatMap((resourceMetrics) => {
    const resource = attributesOf(all(one(resourceMetrics, 1), 1));
    return all(resourceMetrics, 2).flatMap((scope) =>
      all(scope, 2).flatMap((metric) => metricPoints(metric, resource)),
    );
  });
}

function metricPoints(metric: Fields, resource: ReceivedPoint["resource"]): ReceivedPoint[] {
  return Object.entries(kinds).flatMap(([number, kind]) =>
    all(one(metric, Number(number)), 1).map((point) => {
      const histogram = kind === "histogram";
      const value = histogram ? Number(big(point, 4)) : point.has(6) ? Number(big(point, 6)) : double(big(point, 4));
      const attributes = attributesOf(all(point, histogram ? 9 : 7));
      return { name: text(metric, 1), unit: text(metric, 3), kind, attributes, value, resource };
    }),
  );
}

export async function startCollector(): Promise<Collector> {
  const spans: ReceivedSpan[] = [];
  const points = new Map<string, ReceivedPoint>();
  const bodies: Buffer[] = [];
  const requests: { path: string; type: string }[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      requests.push({ path: request.url ?? "", type: request.headers["content-type"] ?? "" });
      response.statusCode = collector.status;
      response.setHeader("content-type", "application/x-protobuf");
      response.end();
      if (collector.status !== 200) return;
      bodies.push(body);
      if (request.url === "/v1/traces") spans.push(...spansOf(body));
      for (const point of request.url === "/v1/metrics" ? pointsOf(body) : [])
        points.set(`${point.name}${JSON.stringify(point.attributes)}`, point);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const collector: Collector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    points,
    bodies,
    requests,
    status: 200,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return collector;
}
