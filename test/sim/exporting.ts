import { sha256Utf8Hex } from "@rspp/base/sha256";
import type { TimerHandle } from "@rspp/ports/clock";
import {
  createExporter,
  exporterAppend,
  exporterNextDeadline,
  exporterOpen,
  exporterStep,
} from "@rspp/protocol/export-client";
import type { ExporterInput, ExporterOutput, ExporterState } from "@rspp/protocol/export-types";
import type { RuntimeProcess } from "./runtime-process.ts";
import { SESSION, TENANT, type World } from "./world.ts";

const earlyMax = 256;

/** The shipped exporter of one life of a runtime process: its records as the spool appends and syncs them. */
export class Exporting {
  readonly state: ExporterState = createExporter();
  readonly #world: World;
  readonly #runtime: RuntimeProcess;
  #timer: TimerHandle | null = null;
  /** Appended before the stream could be opened. */
  #early: { epoch: number; kind: string; text: string; seq: number }[] = [];
  /** Spool sequence of each exported record, by stream epoch. */
  readonly #seqs = new Map<number, number[]>();

  constructor(world: World, runtime: RuntimeProcess) {
    this.#world = world;
    this.#runtime = runtime;
    this.#step({ kind: "connected", connection: runtime.proc.life });
    this.#pollSynced();
  }

  open(epoch: number, predecessorHead: string): void {
    exporterOpen(this.state, { session: SESSION, epoch, predecessorHead }, null, this.#runtime.proc.clock.nowNs());
    for (const r of this.#early.splice(0)) if (r.epoch === epoch) this.record(r.epoch, r.kind, r.text, r.seq);
  }

  record(epoch: number, kind: string, text: string, seq: number): void {
    if (this.state.streams[`${epoch}/${SESSION}`] === undefined && !this.#rotate(epoch)) {
      if (this.#early.length < earlyMax) this.#early.push({ epoch, kind, text, seq });
      return;
    }
    const seqs = this.#seqs.get(epoch) ?? [];
    this.#seqs.set(epoch, seqs);
    seqs.push(seq);
    const out: ExporterOutput[] = [];
    const digest = sha256Utf8Hex(`${kind} ${text.length} ${text.slice(0, 64)}`);
    exporterAppend(
      this.state,
      { session: SESSION, epoch, digest, bytes: text.length },
      this.#runtime.proc.clock.nowNs(),
      out,
    );
  }

  /** A rotation gives the records a new stream; the one before it ends with what it has. */
  #rotate(epoch: number): boolean {
    const before = Object.values(this.state.streams).findLast((stream) => !stream.closed);
    if (before === undefined || before.id.epoch >= epoch) return false;
    const now = this.#runtime.proc.clock.nowNs();
    exporterOpen(this.state, { session: SESSION, epoch, predecessorHead: before.head }, null, now);
    this.#step({ kind: "close", session: SESSION, epoch: before.id.epoch });
    return true;
  }

  #pollSynced(): void {
    this.#runtime.proc.after(50, () => {
      for (const stream of Object.values(this.state.streams)) {
        const { session, epoch } = stream.id;
        const { synced } = this.#runtime.spool.marks({ tenantId: TENANT, sessionId: session, epoch });
        const { name } = this.#runtime.proc;
        if (synced > 0)
          this.#world.trace.tell({ kind: "spool_synced", proc: name, stream: `${epoch}/${session}`, seq: synced });
        const throughIndex = (this.#seqs.get(epoch) ?? []).findLastIndex((seq) => seq <= synced);
        if (stream.synced <= throughIndex) this.#step({ kind: "synced", session, epoch, throughIndex });
      }
      this.#pollSynced();
    });
  }

  #step(input: ExporterInput): void {
    for (const output of exporterStep(this.state, input, this.#runtime.proc.clock.nowNs())) {
      if (output.kind === "send") this.#sendBatch(output);
      else if (output.kind === "reconnect")
        this.#runtime.proc.after(20, () => this.#step({ kind: "connected", connection: output.connection + 1 }));
    }
    const next = exporterNextDeadline(this.state);
    this.#timer?.clear();
    this.#timer = next === null ? null : this.#runtime.proc.clock.timerAt(next, () => this.#step({ kind: "tick" }));
  }

  #sendBatch(output: Extract<ExporterOutput, { kind: "send" }>): void {
    const world = this.#world;
    const { batch } = output;
    // The holder's epoch of now: after a rotation a stream goes on under its own name.
    const epoch = this.#runtime.holder?.state.epoch ?? batch.stream.epoch;
    const signed = this.#runtime.holder?.state.signed ?? null;
    world.toReplay(
      this.#runtime.proc,
      epoch,
      signed,
      batch,
      (answer) => {
        if (answer.kind === "ack") {
          const { session, epoch: of, nextIndex, head } = answer.ack;
          world.trace.tell({ kind: "export_acked", stream: `${of}/${session}`, nextIndex, head });
          this.#step({ kind: "ack", ack: answer.ack });
        }
        if (answer.kind === "refuse") this.#step({ kind: "refused", refused: answer.refused });
      },
      (floor) => this.#runtime.stale("replay", floor),
    );
  }
}
