import { asMonoNs, type MonoNs, msToNs } from "@rspp/base/brand";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { AppendTimelineResponse } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import type { TimerHandle } from "@rspp/ports/clock";
import {
  createExporter,
  exporterAppend,
  exporterNextDeadline,
  exporterOpen,
  exporterStep,
} from "@rspp/protocol/export-client";
import type { ExportBatch, ExporterInput, ExporterOutput, ExporterState } from "@rspp/protocol/export-types";
import { sameBytes } from "@rspp/wire/timeline-chain";
import { streamKey } from "../spool/scan.ts";
import { AppendConnection } from "./append-connection.ts";
import type { Converted } from "./convert.ts";
import { CAUGHT_UP, type ExportChain } from "./export-chain.ts";
import { exportLimits } from "./limits.ts";
import { SpoolSource } from "./spool-source.ts";
import type { Exporter, ExporterOptions, ExportStats } from "./types.ts";
import { warmUp } from "./warm-up.ts";

/**
 * Exports what the spool has synced to the replay service: asynchronously, in small pieces of work per turn of the event
 * loop, from what was acknowledged on. An outage costs nothing but spool space (`kernel.md` §11, F-154).
 */
export function startExporter(options: ExporterOptions): Exporter {
  return new SpoolExporter(options);
}

class SpoolExporter implements Exporter {
  private readonly options: ExporterOptions;
  private readonly source: SpoolSource;
  private readonly connection: AppendConnection;
  private readonly machine: ExporterState = createExporter({
    bufferRecords: exportLimits.CACHE_RECORDS_MAX,
    batchRecords: exportLimits.BATCH_RECORDS,
  });
  private readonly warming = warmUp();
  private warm = false;
  /** Of any chains, in the order they go out. */
  private outgoing: ExportChain["waiting"][number]["record"][] = [];
  private outgoingBytes = 0;
  private readonly unlisten: () => void;
  private connected: number | null = null;
  private exported = 0;
  private cachedRecords = 0;
  private cachedBytes = 0;
  private halted = 0;
  private behindSinceMs: number | null = null;
  private turn: NodeJS.Immediate | null = null;
  private deadline: TimerHandle | null = null;
  private marking: TimerHandle | null = null;
  private stopped = false;
  private idlers: (() => void)[] = [];

  constructor(options: ExporterOptions) {
    this.options = options;
    this.source = new SpoolSource(options);
    this.connection = new AppendConnection(options, {
      connected: (connection, window) => this.begin(connection, window),
      disconnected: (connection) => this.lost(connection),
      answer: (message) => this.answer(message),
    });
    // After each group sync there may be more to read.
    this.unlisten = options.spool.onMeasures(() => this.wake());
    this.armMarks();
    this.wake();
  }

  stats(): ExportStats {
    return {
      connected: this.connected !== null,
      exported: this.exported,
      inFlight: this.machine.inFlightRecords,
      lagMs: this.lagMs(),
      fill: 0,
      behind: this.behindSinceMs !== null,
      halted: this.halted,
      reconnects: this.connection.losses,
    };
  }

  async idle(): Promise<void> {
    await this.options.spool.sync();
    if (this.isIdle()) return;
    await new Promise<void>((resolve) => {
      this.idlers.push(resolve);
      this.wake();
    });
  }

  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    this.unlisten();
    this.deadline?.clear();
    this.marking?.clear();
    if (this.turn !== null) clearImmediate(this.turn);
    await this.connection.stop();
    this.mark();
    for (const done of this.idlers.splice(0)) done();
  }

  private isIdle(): boolean {
    return this.cachedRecords === 0 && this.source.atEnd();
  }

  private now(): MonoNs {
    return this.options.clock.nowNs();
  }

  // --- work in small pieces ---

  private wake(): void {
    if (this.turn !== null || this.stopped) return;
    this.turn = setImmediate(() => {
      this.turn = null;
      this.work();
    });
  }

  /** A few records are made; what the machine then sends goes out at once. */
  private work(): void {
    if (!this.warm) {
      this.warm = this.warming.next().done === true;
      return this.wake();
    }
    const touched = new Set<ExportChain>();
    let made = 0;
    let more = true;
    while (made < exportLimits.TURN_RECORDS_MAX && this.hasRoom()) {
      const next = this.source.next((chain) => this.ready(chain));
      more = next !== null;
      if (next === null) break;
      made += 1;
      if (next.kind === "lost") this.halt(next.chain, "spool_lost");
      if (next.kind !== "made") continue;
      if (this.take(next.chain, next.made)) touched.add(next.chain);
    }
    if (touched.size > 0) this.synced(touched);
    if (more && this.hasRoom()) this.wake();
    if (!this.isIdle()) return;
    this.caughtUp();
    for (const done of this.idlers.splice(0)) done();
  }

  /** What was made is synced in the spool. Told once for all chains, since each step of the machine looks at every one. */
  private synced(touched: ReadonlySet<ExportChain>): void {
    for (const { id, session } of touched) {
      const stream = this.machine.streams[`${id.epoch}/${session}`];
      if (stream !== undefined) stream.synced = stream.appended;
    }
    this.step({ kind: "tick" });
  }

  private hasRoom(): boolean {
    const { CACHE_RECORDS_MAX, CACHE_BYTES_MAX } = exportLimits;
    return this.cachedRecords < CACHE_RECORDS_MAX && this.cachedBytes < CACHE_BYTES_MAX;
  }

  /** Whether records of the chain may be made now: what the service has of it must be known first. */
  private ready(chain: ExportChain): boolean {
    if (chain.status !== "asking") return true;
    const before = this.source.before(chain);
    if (before !== null && before.status !== "halted") {
      // One epoch after the other: the service takes nothing of a lower one behind a higher (kernel.md §7).
      if (!before.settled || before.status !== "live") return false;
      this.finish(before);
    }
    if (chain.fresh && this.connected !== null) {
      chain.fresh = false;
      this.goLive(chain);
      if (chain.isLive()) return true;
    }
    if (!chain.asked && this.connected !== null) {
      chain.asked = true;
      const { tenant: tenantId, session: sessionId, epoch } = chain.place;
      this.connection.send({ case: "resume", value: { session: { tenantId, sessionId }, epoch: BigInt(epoch) } });
    }
    return false;
  }

  /** True when the record is to be sent. */
  private take(chain: ExportChain, { record, bytes }: Converted): boolean {
    if (chain.status === "passing") {
      const { sequence, head } = chain.resume;
      if (Number(record.sequence) < sequence) return false;
      if (sameBytes(record.digest, head)) this.goLive(chain);
      else this.halt(chain, "altered");
      return false;
    }
    if (chain.status !== "live") return false;
    const { session } = chain;
    const { epoch } = chain.id;
    chain.waiting.push({ record, bytes });
    this.cachedRecords += 1;
    this.cachedBytes += bytes;
    const out: ExporterOutput[] = [];
    const digest = hex(record.digest);
    exporterAppend(this.machine, { session, epoch, digest, bytes }, this.now(), out);
    return true;
  }

  // --- the machine ---

  private step(input: ExporterInput): void {
    this.carryOut(exporterStep(this.machine, input, this.now()));
    const next = exporterNextDeadline(this.machine);
    this.deadline?.clear();
    this.deadline = next === null ? null : this.options.clock.timerAt(next, () => this.step({ kind: "tick" }));
  }

  private carryOut(outputs: readonly ExporterOutput[]): void {
    for (const output of outputs) {
      switch (output.kind) {
        case "send":
          this.send(output.batch);
          break;
        case "exported":
          this.acknowledged(output.session, output.epoch, output.nextIndex);
          break;
        case "stream_done":
          this.source.done(output.session, output.epoch);
          break;
        case "halted": {
          const chain = this.chainOf(output.session, output.epoch);
          if (chain !== null) this.halt(chain, output.reason);
          break;
        }
        case "server_lost":
          this.beginAnew(output.session, output.epoch);
          break;
        case "reconnect":
          this.connection.reconnect();
          break;
        default:
          // Nothing is behind in the machine: what waits longer than its buffer waits in the spool.
          break;
      }
    }
    this.sendOutgoing();
  }

  private send({ stream, records }: ExportBatch): void {
    const chain = this.chainOf(stream.session, stream.epoch);
    if (chain === null) return;
    for (const { index } of records) {
      const item = chain.waiting[index - chain.acked];
      if (item === undefined) break;
      const { BATCH_RECORDS, REQUEST_BYTES_MAX } = exportLimits;
      if (this.outgoing.length >= BATCH_RECORDS || this.outgoingBytes + item.bytes > REQUEST_BYTES_MAX) {
        this.sendOutgoing();
      }
      this.outgoing.push(item.record);
      this.outgoingBytes += item.bytes;
    }
  }

  private sendOutgoing(): void {
    if (this.outgoing.length === 0) return;
    this.connection.send({ case: "append", value: { records: this.outgoing } });
    this.outgoing = [];
    this.outgoingBytes = 0;
  }

  private acknowledged(session: string, epoch: number, nextIndex: number): void {
    const chain = this.chainOf(session, epoch);
    if (chain === null) return;
    const { records, bytes, late } = chain.acknowledge(nextIndex);
    this.cachedRecords -= records;
    this.cachedBytes -= bytes;
    this.exported += records;
    if (this.behindSinceMs !== null) chain.caughtUp += late;
    if (chain.ended && chain.settled) this.finish(chain);
    this.wake();
  }

  /** Nothing more comes of the chain, and all of it is acknowledged. */
  private finish(chain: ExportChain): void {
    this.source.mark(chain);
    this.step({ kind: "close", session: chain.session, epoch: chain.id.epoch });
  }

  private chainOf(session: string, epoch: number): ExportChain | null {
    return this.source.named(session, epoch);
  }

  // --- what the service says ---

  private begin(connection: number, window: { maxRecords: number; maxBytes: number }): void {
    const { config } = this.machine;
    config.windowRecords = Math.min(exportLimits.CACHE_RECORDS_MAX, window.maxRecords);
    config.windowBytes = Math.min(exportLimits.CACHE_BYTES_MAX, window.maxBytes);
    this.connected = connection;
    this.options.log.info({ connection, lag_ms: this.lagMs() }, "timeline export connected");
    this.step({ kind: "connected", connection });
    this.wake();
  }

  private lost(connection: number): void {
    if (this.connected === connection) this.options.log.warn({ connection }, "timeline export lost its connection");
    this.connected = null;
    for (const chain of this.source.chains()) if (chain.status === "asking") chain.asked = false;
    this.step({ kind: "disconnected", connection });
  }

  private answer(message: AppendTimelineResponse["message"]): void {
    if (message.case !== "ack" && message.case !== "refused") return;
    const { session, epoch } = message.value;
    const { tenantId = "", sessionId = "" } = session ?? {};
    const chain =
      this.source.find({ tenantId, sessionId, epoch: Number(epoch) }) ??
      this.source.find({ tenantId: "", sessionId, epoch: Number(epoch) });
    if (chain === null || chain.place.tenant !== tenantId) return;
    if (message.case === "ack") {
      const { acknowledgedSequence, headDigest } = message.value;
      this.acknowledgement(chain, Number(acknowledgedSequence), headDigest);
    } else this.refusal(chain, message.value.error?.reason ?? 0, message.value.error?.metadata ?? {});
  }

  private acknowledgement(chain: ExportChain, sequence: number, head: Uint8Array): void {
    if (chain.status === "asking") this.resume(chain, sequence, head);
    else if (chain.status === "live" && sequence > chain.acked + chain.waiting.length) {
      // Taken for new, and the service has more of it than was made here by now.
      this.drop(chain);
      this.resume(chain, sequence, head);
    } else if (chain.status === "live" && sequence > chain.acked) {
      const { session } = chain;
      const { epoch } = chain.id;
      const header = this.machine.streams[`${epoch}/${session}`]?.buffer[sequence - 1 - chain.acked];
      // The machine compares its own chain, which binds the same digests.
      const told = header !== undefined && header.digest === hex(head) ? header.chain : "";
      this.step({ kind: "ack", ack: { session, epoch, nextIndex: sequence, head: told } });
    }
    this.wake();
  }

  private resume(chain: ExportChain, sequence: number, head: Uint8Array): void {
    const { place } = chain;
    if (sequence < place.sequence) {
      // It was restored to an earlier state, or is another one: all that the spool still has is sent again.
      this.beginAnew(chain.session, chain.id.epoch);
    } else if (sequence > place.sequence) {
      chain.status = "passing";
      chain.resume = { sequence, head };
      chain.acked = sequence;
    } else if (sequence === 0 || sameBytes(head, place.head)) this.goLive(chain);
    else this.halt(chain, "altered");
  }

  private refusal(chain: ExportChain, reason: ErrorReason, metadata: Readonly<Record<string, string>>): void {
    const { session } = chain;
    const { sessionId: session_id, epoch } = chain.id;
    this.options.log.warn({ session_id, epoch, reason: ErrorReason[reason], ...metadata }, "export refused");
    if (reason === ErrorReason.OUT_OF_ORDER) {
      const nextIndex = Number(metadata.expected_sequence ?? 1) - 1;
      this.step({ kind: "refused", refused: { session, epoch, reason: "gap", nextIndex } });
    } else {
      this.step({ kind: "refused", refused: { session, epoch, reason: "altered", nextIndex: chain.acked } });
      this.halt(chain, "altered");
    }
  }

  private goLive(chain: ExportChain): void {
    const { id, place } = chain;
    const { sequence: nextIndex } = place;
    const stream = { session: chain.session, epoch: id.epoch, predecessorHead: "" };
    const opened = exporterOpen(
      this.machine,
      stream,
      { nextIndex, acked: nextIndex, head: hex(place.head) },
      this.now(),
    );
    if (!opened.ok) {
      // Full: it is asked for again, and finds room when others have ended.
      chain.status = "asking";
      chain.asked = false;
      return;
    }
    chain.status = "live";
    chain.acked = nextIndex;
  }

  /** The spool's records of the chain are made again from the first; if that is gone, the chain is left alone. */
  private beginAnew(session: string, epoch: number): void {
    const chain = this.chainOf(session, epoch);
    if (chain === null) return;
    this.options.log.warn(
      { session_id: chain.id.sessionId, epoch },
      "the replay service has less than it acknowledged",
    );
    this.drop(chain);
    this.source.again(chain);
    this.wake();
  }

  private halt(chain: ExportChain, reason: string): void {
    if (chain.status === "halted") return;
    const { sessionId: session_id, epoch } = chain.id;
    this.options.log.error({ session_id, epoch, reason }, "export of a chain halted: its records stay in the spool");
    this.drop(chain);
    chain.status = "halted";
    this.halted += 1;
    this.wake();
  }

  /** What waits of it is forgotten here; the machine's stream, too. */
  private drop(chain: ExportChain): void {
    const key = streamKey(chain.id);
    const stream = this.machine.streams[key];
    const gone = chain.waiting.splice(0);
    this.cachedRecords -= gone.length;
    for (const { bytes } of gone) this.cachedBytes -= bytes;
    if (stream === undefined) return;
    // A halted stream has nothing in flight.
    this.step({
      kind: "refused",
      refused: { session: chain.session, epoch: chain.id.epoch, reason: "altered", nextIndex: 0 },
    });
    delete this.machine.streams[key];
    this.machine.streamCount -= 1;
    this.machine.order = this.machine.order.filter((one) => one !== key);
  }

  // --- lag, catching up, marks ---

  private lagMs(): number {
    const oldest = this.source.oldestWallMs();
    return oldest === null ? 0 : Math.max(0, this.options.clock.wallMs() - oldest);
  }

  private armMarks(): void {
    const every = exportLimits.LAG_EVERY_MS;
    const rounds = exportLimits.MARK_EVERY_MS / every;
    const look = (round: number): void => {
      this.marking = this.options.clock.timerAt(asMonoNs(this.now() + msToNs(every)), () => {
        this.checkBehind();
        if (round >= rounds) this.mark();
        look(round >= rounds ? 1 : round + 1);
      });
    };
    look(1);
  }

  private checkBehind(): void {
    const lagMs = this.lagMs();
    if (this.behindSinceMs !== null) {
      // While calls go on there is always something on its way.
      if (lagMs < exportLimits.CAUGHT_UP_MS) this.caughtUp();
      return;
    }
    if (lagMs < exportLimits.BEHIND_MS) return;
    this.behindSinceMs = this.options.clock.wallMs() - lagMs;
    for (const chain of this.source.chains()) chain.caughtUp = 0;
    this.options.log.warn({ lag_ms: lagMs }, "timeline export is behind");
  }

  /** Marked in each session that had waited and goes on (F-154). */
  private caughtUp(): void {
    if (this.behindSinceMs === null) return;
    const behindMs = Math.max(0, this.options.clock.wallMs() - this.behindSinceMs);
    this.behindSinceMs = null;
    this.options.log.info({ behind_ms: behindMs }, "timeline export caught up");
    for (const { id, caughtUp } of this.source.chains()) {
      if (caughtUp === 0) continue;
      const fields = { behind_ms: String(behindMs), records: String(caughtUp) };
      this.options.spool.marker(id, CAUGHT_UP, fields);
    }
  }

  private mark(): void {
    const marked = this.source.markAll();
    for (const chain of this.source.resting()) this.finish(chain);
    if (marked) this.options.spool.reclaim();
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}
