/**
 * Records of the spool as records of the timeline contract, one for each record and one for each line of a group. Made in
 * pieces, so that a large group takes no turn of the event loop for itself. The same spool gives the same digests.
 */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { canonicalJson } from "@rspp/base/canonical-json";
import { type TimelineRecord as RecordMessage, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import type { JournalEntry } from "@rspp/kernel/replay";
import { toEnvelope } from "@rspp/wire/envelope";
import { journalToWire } from "@rspp/wire/journal";
import { signalInit } from "@rspp/wire/kernel-event";
import { levelNames } from "@rspp/wire/names";
import { timelineRecord } from "@rspp/wire/timeline";
import { recordDigest } from "@rspp/wire/timeline-chain";
import { turnIdOf } from "@rspp/wire/wire-event";
import type { SpoolRecord } from "../spool/frame.ts";
import { decodeEntry } from "../spool/journal-codec.ts";
import { contentDigest, nativeSha256 } from "./digest.ts";
import { exportLimits } from "./limits.ts";
import type { ChainPlace } from "./place.ts";
import { steadyBatch } from "./steady-batch.ts";

type Body = NonNullable<MessageInitShape<typeof TimelineRecordSchema>["body"]>;

export interface Converted {
  record: RecordMessage;
  /** About what it takes on the wire. */
  bytes: number;
}

export interface Maker {
  readonly build: string;
  readonly instanceId: string;
}

/** The timeline records of one spool record, in order. `place` moves on with each. */
export function* convert(record: SpoolRecord, place: ChainPlace, maker: Maker): Generator<Converted> {
  if (record.kind === "mark") return;
  const writer = new RecordWriter(place, record.wallMs, maker);
  if (record.kind === "session" && !record.erased) noteSession(record, place);
  else if (place.sequence === 0) yield writer.header({ continued: true, epoch: place.epoch, sessionId: place.session });
  if (record.erased) {
    const value = { reason: "erased_in_spool", bodyDigest: Uint8Array.from(record.digest) };
    yield writer.write({ case: "erased", value }, undefined);
  } else if (record.kind === "group") yield* group(textOf(record), writer, place);
  else yield single(record.kind, parse(textOf(record)), writer, place);
}

function* group(text: string, writer: RecordWriter, place: ChainPlace): Generator<Converted> {
  for (let at = 0; at < text.length; ) {
    const found = text.indexOf("\n", at);
    const end = found === -1 ? text.length : found;
    const space = text.indexOf(" ", at);
    const tag = space === -1 || space > end ? "" : text.slice(at, space);
    yield line(tag, parse(text.slice(at + tag.length + 1, end)), writer, place);
    at = end + 1;
  }
}

function line(tag: string, content: unknown, writer: RecordWriter, place: ChainPlace): Converted {
  if (tag === "journal") {
    const steady = steadyBatch(content);
    if (steady !== null) {
      beginBatch(place, Number(steady.batchSequence), Number(steady.monotonicNs));
      return writer.write({ case: "batch", value: steady }, undefined);
    }
    const entry = decodeEntry(content);
    if (entry !== null) return journal(entry, writer, place);
  } else if (tag === "signal" && isObject(content) && typeof content.signal === "string") {
    return signal(content as unknown as SignalEvent, writer, place);
  } else if (tag === "payload" && isObject(content) && typeof content.ref === "number") {
    return writer.named("payload", content, { id: String(content.ref), lane: "data" });
  }
  return writer.unreadable(tag === "" ? "group" : tag);
}

function beginBatch(place: ChainPlace, index: number, monoNs: number): void {
  place.batch = index;
  place.effects = 0;
  place.monoNs = monoNs;
}

function journal(entry: JournalEntry, writer: RecordWriter, place: ChainPlace): Converted {
  beginBatch(place, entry.batch.index, entry.batch.monoNs);
  // A broken step and one past the contract's bounds travel whole, in canonical form.
  if (entry.fault !== undefined || entry.summary !== undefined) return writer.named("journal", entry, {});
  const value = journalToWire(entry);
  if (!value.ok) return writer.named("journal", entry, {});
  return writer.write({ case: "batch", value: value.value }, undefined);
}

function signal(event: SignalEvent, writer: RecordWriter, place: ChainPlace): Converted {
  place.monoNs = event.monoNs;
  const { tenant, session, epoch, pipeline } = place;
  const constants = { tenant, session, epoch, pipelineVersion: pipeline };
  const typed = toEnvelope(constants, signalInit(event, writer.wallMs));
  const value = {
    batchSequence: BigInt(Math.max(1, place.batch)),
    index: Math.min(65_536, place.effects++),
    kind: "signal",
    ...(typed.ok ? { event: typed.value } : {}),
  };
  const { node } = event.fields;
  return writer.write({ case: "effect", value }, event, {
    turn: event.turn,
    node: typeof node === "string" ? node : "",
    lane: "control",
  });
}

function single(kind: SpoolRecord["kind"], content: unknown, writer: RecordWriter, place: ChainPlace): Converted {
  if (!isObject(content)) return writer.unreadable(kind);
  switch (kind) {
    case "session":
      return writer.header(content);
    case "session_end":
    case "evidence_lost":
    case "marker":
      return writer.marker(kind === "marker" ? String(content.name) : kind, content);
    case "predecessor_lost":
      return writer.predecessorLost(content);
    default:
      break;
  }
  const record = content as unknown as TimelineRecord;
  if (record.kind === "recording_level") {
    place.level = record.to === "L2" ? "L2" : record.to === "L1" ? "L1" : "L0";
    place.monoNs = record.monoNs;
  }
  return writer.kernel(record);
}

interface About {
  turn?: number;
  node?: string;
  id?: string;
  lane?: "control" | "data";
}

const lanes = { control: 1, data: 2 } as const;

const text = new TextEncoder();

class RecordWriter {
  readonly wallMs: number;
  private readonly place: ChainPlace;
  private readonly maker: Maker;

  constructor(place: ChainPlace, wallMs: number, maker: Maker) {
    this.place = place;
    this.wallMs = wallMs;
    this.maker = maker;
  }

  /** The chain goes on with this record. @param content its canonical form; undefined where the body says all. */
  write(body: Body, content: unknown, about: About = {}): Converted {
    const { place } = this;
    const canonical = content === undefined ? new Uint8Array(0) : encode(content);
    const record = create(TimelineRecordSchema, {
      schemaVersion: 1,
      session: { tenantId: place.tenant, sessionId: place.session },
      epoch: BigInt(place.epoch),
      sequence: BigInt(place.sequence + 1),
      level: levelNames.number(place.level) ?? 0,
      monotonicNs: BigInt(place.monoNs),
      wallMs: BigInt(this.wallMs),
      turnId: turnIdOf(about.turn ?? 0),
      nodeId: (about.node ?? "").slice(0, 128),
      lane: about.lane === undefined ? 0 : lanes[about.lane],
      previousDigest: place.head,
      canonical,
      body,
    });
    record.digest = body.case === "erased" ? recordDigest(place.head, record) : contentDigest(place.head, record);
    return this.taken(record);
  }

  header(content: Record<string, unknown>): Converted {
    const { pipeline, head } = this.place;
    const at = pipeline.lastIndexOf("@");
    const version = Number(pipeline.slice(at + 1));
    const config = content.config as { behaviours?: unknown } | null | undefined;
    const flags = Array.isArray(config?.behaviours) ? config.behaviours : [];
    const value = {
      pipeline: {
        name: (at > 0 ? pipeline.slice(0, at) : pipeline).slice(0, 64) || "unknown",
        version: at > 0 && Number.isInteger(version) && version > 0 ? version : 0,
      },
      build: this.maker.build.slice(0, 64) || "unknown",
      instanceId: this.maker.instanceId.slice(0, 128),
      predecessorHead: this.place.sequence === 0 ? head : new Uint8Array(0),
      behaviourFlags: flags.filter((flag) => Number.isInteger(flag) && flag >= 0).slice(0, 256),
    };
    return this.write({ case: "header", value }, content);
  }

  /** Facts of one level as named texts; nested ones stand in the canonical form alone. */
  predecessorLost(content: Record<string, unknown>): Converted {
    const whole = (value: unknown): bigint => BigInt(typeof value === "number" ? Math.max(0, Math.round(value)) : 0);
    const value = { predecessorEpoch: whole(content.predecessorEpoch), boundMs: whole(content.boundMs) };
    return this.write({ case: "predecessorLost", value }, content);
  }

  marker(name: string, content: Record<string, unknown>): Converted {
    const nested = isObject(content.fields) ? content.fields : content;
    const facts = Object.entries(nested).filter(([, value]) => value !== null && typeof value !== "object");
    const fields = facts.slice(0, 16).map(([key, value]) => [key.slice(0, 64), String(value).slice(0, 256)]);
    const value = { name: name.slice(0, 64) || "unnamed", fields: Object.fromEntries(fields.sort(byName)) };
    return this.write({ case: "marker", value }, content);
  }

  /** A record of which only the canonical form tells all. */
  named(kind: string, content: unknown, about: About): Converted {
    const canonical = encode(content);
    if (canonical.length > exportLimits.RECORD_BYTES_MAX) return this.leftOut(kind, canonical);
    const value = { kind, id: about.id ?? "", turnNumber: about.turn ?? 0, hash: nativeSha256(canonical) };
    return this.write({ case: "canonicalRecord", value }, content, about);
  }

  kernel(content: TimelineRecord): Converted {
    const { place } = this;
    const made = timelineRecord(content, {
      tenant: place.tenant,
      session: place.session,
      epoch: place.epoch,
      sequence: place.sequence + 1,
      level: place.level,
      monoNs: place.monoNs,
      wallMs: this.wallMs,
      previousDigest: place.head,
      batch: place.batch,
    });
    // What its typed body cannot hold is told by its canonical form.
    const turn = "turn" in content ? content.turn : 0;
    if (!made.ok) return this.named(content.kind, content, { turn });
    if (sizeOf(made.value) > exportLimits.RECORD_BYTES_MAX) return this.named(content.kind, content, { turn });
    return this.taken(made.value);
  }

  unreadable(kind: string): Converted {
    return this.marker("record_unreadable", { kind });
  }

  /** Declared loss: it cannot travel. */
  private leftOut(kind: string, canonical: Uint8Array): Converted {
    const sha = Buffer.from(nativeSha256(canonical)).toString("hex");
    return this.marker("record_left_out", { kind, bytes: canonical.length, sha256: sha });
  }

  private taken(record: RecordMessage): Converted {
    this.place.sequence += 1;
    this.place.head = record.digest;
    return { record, bytes: sizeOf(record) };
  }
}

/** What a session record says of those after it. */
export function noteSession(record: SpoolRecord, place: ChainPlace): void {
  const content = parse(textOf(record));
  if (!isObject(content)) return;
  const { tenantId, pipeline, level } = content;
  if (typeof tenantId === "string") place.tenant = tenantId;
  if (typeof pipeline === "string") place.pipeline = pipeline;
  if (level === "L0" || level === "L1" || level === "L2") place.level = level;
  place.batch = 0;
  place.effects = 0;
}

/** Rather too much than too little: what a typed body repeats of the canonical form is counted twice. */
function sizeOf(record: RecordMessage): number {
  const { canonical, body } = record;
  const fixed = 256 + canonical.length;
  switch (body.case) {
    case "batch":
      return body.value.inputs.reduce((sum, input) => sum + input.body.length + 96, fixed + body.value.facts.length);
    case "snapshot":
      return fixed + body.value.body.length;
    default:
      return fixed * 2;
  }
}

function encode(content: unknown): Uint8Array {
  return text.encode(canonicalJson(content));
}

function textOf(record: SpoolRecord): string {
  return Buffer.from(record.payload.buffer, record.payload.byteOffset, record.payload.length).toString("utf8");
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function byName(a: readonly (string | undefined)[], b: readonly (string | undefined)[]): number {
  return (a[0] ?? "") < (b[0] ?? "") ? -1 : 1;
}
