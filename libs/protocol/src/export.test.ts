import { asMonoNs, msToNs } from "@rspp/base/brand";
import { createStream, nextU32 } from "@rspp/base/random";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chainGenesis, chainNext } from "./export-chain.ts";
import {
  createExporter,
  exporterAppend,
  exporterLag,
  exporterNextDeadline,
  exporterOpen,
  exporterStep,
} from "./export-client.ts";
import {
  createExportServer,
  exportServerForget,
  exportServerReceive,
  exportServerRestore,
  exportServerStored,
} from "./export-server.ts";
import type {
  ExportBatch,
  ExporterConfig,
  ExporterOutput,
  ExporterState,
  ExportServerOutput,
  ExportServerState,
  RecordHeader,
  StreamId,
} from "./export-types.ts";
import { limits } from "./limits.ts";

const at = (ms: number) => asMonoNs(msToNs(ms));
const id: StreamId = { session: "s", epoch: 1, predecessorHead: "" };
const who = { session: "s", epoch: 1 };

function opened(config: Partial<ExporterConfig> = {}): ExporterState {
  const state = createExporter(config);
  exporterOpen(state, id, null, at(0));
  return state;
}

function append(state: ExporterState, count: number, ms = 0, out: ExporterOutput[] = []): RecordHeader[] {
  const headers: RecordHeader[] = [];
  for (let n = 0; n < count; n++) {
    headers.push(exporterAppend(state, { ...who, digest: `d${n}`, bytes: 100 }, at(ms), out));
  }
  return headers;
}

const sentIndexes = (outputs: ExporterOutput[]): number[] =>
  outputs.flatMap((o) => (o.kind === "send" ? o.batch.records.map((r) => r.index) : []));

const batchOf = (records: RecordHeader[]): ExportBatch => ({ stream: id, records });

const kinds = (outputs: readonly { kind: string }[]): string[] => outputs.map((o) => o.kind);

describe("exporter", () => {
  test("exports only what is synced, and tells when it is acknowledged", () => {
    const state = opened();
    const headers = append(state, 3);
    expect(exporterStep(state, { kind: "connected", connection: 1 }, at(0))).toEqual([]);
    const out = exporterStep(state, { kind: "synced", ...who, throughIndex: 1 }, at(1));
    expect(sentIndexes(out)).toEqual([0, 1]);
    const head = headers[1]!.chain;
    const acked = exporterStep(state, { kind: "ack", ack: { ...who, nextIndex: 2, head } }, at(2));
    expect(acked).toEqual([{ kind: "exported", ...who, nextIndex: 2 }]);
    expect(exporterLag(state, at(5))).toEqual({ unexportedRecords: 1, oldestAgeMs: 5, streamsBehind: 0 });
  });

  test("resumes after a reconnect from the last acknowledged record", () => {
    const state = opened();
    const headers = append(state, 4);
    exporterStep(state, { kind: "synced", ...who, throughIndex: 3 }, at(0));
    expect(sentIndexes(exporterStep(state, { kind: "connected", connection: 1 }, at(0)))).toEqual([0, 1, 2, 3]);
    exporterStep(state, { kind: "ack", ack: { ...who, nextIndex: 2, head: headers[1]!.chain } }, at(0));
    exporterStep(state, { kind: "disconnected", connection: 1 }, at(1));
    expect(sentIndexes(exporterStep(state, { kind: "connected", connection: 2 }, at(2)))).toEqual([2, 3]);
  });

  test("what is in flight is bounded by records and by bytes", () => {
    const records = opened({ windowRecords: 2 });
    append(records, 5);
    exporterStep(records, { kind: "synced", ...who, throughIndex: 4 }, at(0));
    expect(sentIndexes(exporterStep(records, { kind: "connected", connection: 1 }, at(0)))).toEqual([0, 1]);
    const bytes = opened({ windowBytes: 250 });
    append(bytes, 5);
    exporterStep(bytes, { kind: "synced", ...who, throughIndex: 4 }, at(0));
    expect(sentIndexes(exporterStep(bytes, { kind: "connected", connection: 1 }, at(0)))).toEqual([0, 1]);
  });

  test("F-154 an outage never blocks append: past the bound it is behind, with the count, and catches up from the spool", () => {
    const state = opened({ bufferRecords: 4 });
    const out: ExporterOutput[] = [];
    const spool = append(state, 10, 7, out);
    expect(out).toEqual([{ kind: "behind", ...who, unexported: 5 }]);
    expect(state.streams["1/s"]!.buffer).toHaveLength(4);
    expect(exporterLag(state, at(10))).toEqual({ unexportedRecords: 10, oldestAgeMs: 3, streamsBehind: 1 });
    exporterStep(state, { kind: "synced", ...who, throughIndex: 9 }, at(11));
    let outputs = exporterStep(state, { kind: "connected", connection: 1 }, at(12));
    const seen: number[] = [];
    const kindsSeen: string[] = [];
    for (let n = 0; n < 20 && outputs.length > 0; n++) {
      kindsSeen.push(...kinds(outputs));
      const next: ExporterOutput[] = [];
      for (const o of outputs) {
        if (o.kind === "load") {
          const records = spool.slice(o.fromIndex, o.fromIndex + o.count);
          next.push(...exporterStep(state, { kind: "loaded", ...who, records }, at(13)));
        } else if (o.kind === "send") {
          const last = o.batch.records.at(-1)!;
          seen.push(...o.batch.records.map((r) => r.index));
          const ack = { ...who, nextIndex: last.index + 1, head: last.chain };
          next.push(...exporterStep(state, { kind: "ack", ack }, at(13)));
        }
      }
      outputs = next;
    }
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(kindsSeen).toContain("caught_up");
    expect(exporterLag(state, at(20))).toEqual({ unexportedRecords: 0, oldestAgeMs: 0, streamsBehind: 0 });
  });

  test("silence of the server ends the connection after its deadline", () => {
    const state = opened();
    append(state, 1);
    exporterStep(state, { kind: "synced", ...who, throughIndex: 0 }, at(0));
    exporterStep(state, { kind: "connected", connection: 3 }, at(0));
    expect(exporterNextDeadline(state)).toBe(at(limits.EXPORT_ACK_TIMEOUT_MS));
    expect(exporterStep(state, { kind: "tick" }, at(limits.EXPORT_ACK_TIMEOUT_MS - 1))).toEqual([]);
    const out = exporterStep(state, { kind: "tick" }, at(limits.EXPORT_ACK_TIMEOUT_MS));
    expect(out).toEqual([{ kind: "reconnect", connection: 3 }]);
  });

  test("a server that lost what it acknowledged is given it again from the spool, and it is said", () => {
    const state = opened();
    const headers = append(state, 3);
    exporterStep(state, { kind: "synced", ...who, throughIndex: 2 }, at(0));
    exporterStep(state, { kind: "connected", connection: 1 }, at(0));
    exporterStep(state, { kind: "ack", ack: { ...who, nextIndex: 3, head: headers[2]!.chain } }, at(0));
    const refused = { ...who, reason: "gap", nextIndex: 1 } as const;
    const out = exporterStep(state, { kind: "refused", refused }, at(1));
    expect(out).toEqual([
      { kind: "server_lost", ...who, fromIndex: 1, toIndex: 2 },
      { kind: "load", ...who, fromIndex: 1, count: 2 },
    ]);
    const again = exporterStep(state, { kind: "loaded", ...who, records: headers.slice(1) }, at(2));
    expect(sentIndexes(again)).toEqual([1, 2]);
  });

  test("an altered chain or a lost spool halts that stream alone", () => {
    const state = opened();
    const other: StreamId = { session: "o", epoch: 1, predecessorHead: "" };
    exporterOpen(state, other, null, at(0));
    append(state, 1);
    exporterAppend(state, { session: "o", epoch: 1, digest: "x", bytes: 1 }, at(0), []);
    exporterStep(state, { kind: "synced", ...who, throughIndex: 0 }, at(0));
    exporterStep(state, { kind: "connected", connection: 1 }, at(0));
    const out = exporterStep(state, { kind: "ack", ack: { ...who, nextIndex: 1, head: "forged" } }, at(0));
    expect(out).toEqual([{ kind: "halted", ...who, reason: "altered" }]);
    expect(state.inFlightRecords).toBe(0);
    const next = exporterStep(state, { kind: "synced", session: "o", epoch: 1, throughIndex: 0 }, at(0));
    expect(sentIndexes(next)).toEqual([0]);
  });

  test("a stream taken up after a restart goes on from the spool; a closed one is let go when all is exported", () => {
    const before = opened();
    const headers = append(before, 4);
    const state = createExporter();
    const recovered = { nextIndex: 4, acked: 2, head: headers[3]!.chain };
    expect(exporterOpen(state, id, recovered, at(0)).ok).toBe(true);
    expect(exporterOpen(state, id, null, at(0))).toEqual({ ok: false, error: "already_open" });
    const out = exporterStep(state, { kind: "connected", connection: 1 }, at(0));
    expect(out).toEqual([{ kind: "load", ...who, fromIndex: 2, count: 2 }]);
    exporterStep(state, { kind: "loaded", ...who, records: headers.slice(2) }, at(0));
    exporterStep(state, { kind: "close", ...who }, at(0));
    const done = exporterStep(state, { kind: "ack", ack: { ...who, nextIndex: 4, head: headers[3]!.chain } }, at(0));
    expect(done).toContainEqual({ kind: "stream_done", ...who, head: headers[3]!.chain });
    expect(state.streamCount).toBe(0);
  });
});

describe("export server", () => {
  const headersOf = (count: number): RecordHeader[] => append(opened(), count);

  test("acknowledges only what is stored for good", () => {
    const server = createExportServer();
    const headers = headersOf(2);
    expect(kinds(exportServerReceive(server, batchOf(headers), ""))).toEqual(["stream_opened", "store"]);
    expect(exportServerStored(server, "s", 1, 2)).toEqual([
      { kind: "ack", ack: { ...who, nextIndex: 2, head: headers[1]!.chain } },
    ]);
  });

  test("duplicates are acknowledged again and not stored twice", () => {
    const server = createExportServer();
    const headers = headersOf(3);
    exportServerReceive(server, batchOf(headers.slice(0, 2)), "");
    exportServerStored(server, "s", 1, 2);
    const out = exportServerReceive(server, batchOf(headers), "");
    expect(out).toEqual([
      { kind: "store", stream: id, records: [headers[2]] },
      { kind: "ack", ack: { ...who, nextIndex: 2, head: headers[1]!.chain } },
    ]);
  });

  test("a gap is refused with the index it would take", () => {
    const server = createExportServer();
    const headers = headersOf(3);
    exportServerReceive(server, batchOf(headers.slice(0, 1)), "");
    expect(exportServerReceive(server, batchOf(headers.slice(2)), "")).toEqual([
      { kind: "refuse", refused: { ...who, reason: "gap", nextIndex: 1 } },
    ]);
  });

  test("an altered record is refused, new or repeated", () => {
    const server = createExportServer();
    const headers = headersOf(2);
    exportServerReceive(server, batchOf(headers.slice(0, 1)), "");
    const altered = { kind: "refuse", refused: { ...who, reason: "altered", nextIndex: 1 } };
    expect(exportServerReceive(server, batchOf([{ ...headers[1]!, digest: "other" }]), "")).toEqual([altered]);
    expect(exportServerReceive(server, batchOf([{ ...headers[0]!, chain: "other" }]), "")).toEqual([altered]);
    const renamed = { stream: { ...id, predecessorHead: "x" }, records: [headers[1]!] };
    expect(exportServerReceive(server, renamed, "")).toEqual([altered]);
  });

  test("a successor's stream says whether it continues the predecessor's last exported head", () => {
    const stream = { session: "s", epoch: 2, predecessorHead: "h9" };
    const chain = chainNext(chainGenesis(stream), 0, "d");
    const records = [{ index: 0, digest: "d", chain, bytes: 1, appendedAtNs: at(0) }];
    const linked = (head: string) => exportServerReceive(createExportServer(), { stream, records }, head)[0];
    expect(linked("h9")).toMatchObject({ kind: "stream_opened", linked: true });
    expect(linked("h7")).toMatchObject({ kind: "stream_opened", linked: false });
  });

  test("streams are bounded and their places freed", () => {
    const server = createExportServer(1);
    exportServerReceive(server, batchOf(headersOf(1)), "");
    const other = { stream: { ...id, session: "o" }, records: [] };
    expect(kinds(exportServerReceive(server, other, ""))).toEqual(["refuse"]);
    exportServerForget(server, "s", 1);
    expect(kinds(exportServerReceive(server, other, ""))).toEqual(["stream_opened"]);
  });
});

type Op = { op: "append"; stream: number } | { op: "sync" | "disconnect" | "crash" | "serve" | "store" };

/** Exporter, spool, server and store under random disconnects, losses, repeats and server crashes. */
class ExportWorld {
  nowMs = 0;
  connection = 0;
  readonly ids: StreamId[] = [id, { session: "o", epoch: 4, predecessorHead: "p" }];
  readonly exporter: ExporterState = createExporter({ bufferRecords: 6, windowRecords: 5, batchRecords: 3 });
  server: ExportServerState = createExportServer();
  readonly spool: RecordHeader[][] = [[], []];
  /** What the store holds for good, and what it was asked to and has not yet. */
  readonly stored: RecordHeader[][] = [[], []];
  pending: { stream: number; records: RecordHeader[] }[] = [];
  toServer: ExportBatch[] = [];
  toClient: ExportServerOutput[] = [];
  readonly acked = [0, 0];
  readonly random;

  constructor(seed: string) {
    this.random = createStream(seed, 0, "export");
    for (const stream of this.ids) exporterOpen(this.exporter, stream, null, at(0));
    this.connect();
  }

  indexOf(key: { session: string }): number {
    return key.session === "s" ? 0 : 1;
  }

  client(outputs: ExporterOutput[]): void {
    for (const o of outputs) {
      if (o.kind === "send") {
        expect(o.connection).toBe(this.connection);
        this.toServer.push(JSON.parse(JSON.stringify(o.batch)) as ExportBatch);
      } else if (o.kind === "load") {
        const n = this.indexOf(o);
        const records = this.spool[n]!.slice(o.fromIndex, o.fromIndex + o.count);
        this.client(
          exporterStep(this.exporter, { kind: "loaded", session: o.session, epoch: o.epoch, records }, at(this.nowMs)),
        );
      } else if (o.kind === "exported") {
        const n = this.indexOf(o);
        expect(o.nextIndex, "acknowledged only what is stored").toBeLessThanOrEqual(this.stored[n]!.length);
        this.acked[n] = o.nextIndex;
      } else if (o.kind === "reconnect") this.connect();
      else if (o.kind === "halted" || o.kind === "server_lost") throw new Error(`unexpected ${o.kind}`);
    }
    const lost = Object.values(this.exporter.streams);
    for (const stream of lost) expect(stream.buffer.length).toBeLessThanOrEqual(6);
    expect(this.exporter.inFlightRecords).toBeGreaterThanOrEqual(0);
    expect(this.exporter.inFlightRecords).toBeLessThanOrEqual(5);
    expect(this.exporter.inFlightBytes).toBe(this.exporter.inFlightRecords * 10);
  }

  connect(): void {
    this.toServer = [];
    this.toClient = [];
    this.connection++;
    this.client(exporterStep(this.exporter, { kind: "connected", connection: this.connection }, at(this.nowMs)));
  }

  apply(o: Op): void {
    this.nowMs += nextU32(this.random) % 400;
    switch (o.op) {
      case "append": {
        const { session, epoch } = this.ids[o.stream]!;
        const digest = `${o.stream}/${this.spool[o.stream]!.length}`;
        const out: ExporterOutput[] = [];
        this.spool[o.stream]!.push(
          exporterAppend(this.exporter, { session, epoch, digest, bytes: 10 }, at(this.nowMs), out),
        );
        this.client(out);
        return;
      }
      case "sync":
        for (const [n, { session, epoch }] of this.ids.entries()) {
          const input = { kind: "synced", session, epoch, throughIndex: this.spool[n]!.length - 1 } as const;
          this.client(exporterStep(this.exporter, input, at(this.nowMs)));
        }
        return;
      case "disconnect":
        this.client(exporterStep(this.exporter, { kind: "disconnected", connection: this.connection }, at(this.nowMs)));
        this.connect();
        return;
      case "crash":
        this.pending = [];
        this.server = exportServerRestore(
          8,
          this.ids.map((stream, n) => ({
            id: stream,
            nextIndex: this.stored[n]!.length,
            recent: this.stored[n]!.map((r) => r.chain),
          })),
        );
        this.apply({ op: "disconnect" });
        return;
      case "serve": {
        const batch = this.toServer.shift();
        if (batch !== undefined) this.serve(exportServerReceive(this.server, batch, "p"));
        if (batch !== undefined && nextU32(this.random) % 4 === 0)
          this.serve(exportServerReceive(this.server, batch, "p"));
        const back = this.toClient.shift();
        if (back?.kind === "ack")
          this.client(exporterStep(this.exporter, { kind: "ack", ack: back.ack }, at(this.nowMs)));
        if (back?.kind === "refuse")
          this.client(exporterStep(this.exporter, { kind: "refused", refused: back.refused }, at(this.nowMs)));
        return;
      }
      case "store":
        this.store();
    }
  }

  serve(outputs: ExportServerOutput[]): void {
    for (const o of outputs) {
      if (o.kind === "store") this.pending.push({ stream: this.indexOf(o.stream), records: o.records });
      else if (o.kind !== "stream_opened") this.toClient.push(o);
    }
  }

  store(): void {
    const job = this.pending.shift();
    if (job === undefined) return;
    const store = this.stored[job.stream]!;
    for (const record of job.records) {
      expect(record.index, "stored once and in order").toBe(store.length);
      store.push(record);
    }
    const { session, epoch } = this.ids[job.stream]!;
    this.serve(exportServerStored(this.server, session, epoch, store.length));
  }
}

test("every acknowledged record is stored once and in order under random disconnects, repeats and server crashes", () => {
  const op: fc.Arbitrary<Op> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ op: fc.constant("append" as const), stream: fc.constantFrom(0, 1) }) },
    { weight: 8, arbitrary: fc.record({ op: fc.constantFrom("serve" as const, "store" as const) }) },
    { weight: 3, arbitrary: fc.record({ op: fc.constant("sync" as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constantFrom("disconnect" as const, "crash" as const) }) },
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 4 }), fc.array(op, { minLength: 20, maxLength: 150 }), (seed, ops) => {
      const world = new ExportWorld(seed);
      for (const o of ops) world.apply(o);
      world.apply({ op: "sync" });
      for (let n = 0; n < 400; n++) {
        world.apply({ op: "serve" });
        world.apply({ op: "store" });
      }
      for (const n of [0, 1]) {
        expect(world.stored[n]).toEqual(world.spool[n]);
        expect(world.acked[n]).toBe(world.spool[n]!.length);
      }
      expect(exporterLag(world.exporter, at(world.nowMs)).streamsBehind).toBe(0);
    }),
    { numRuns: 150 },
  );
});
