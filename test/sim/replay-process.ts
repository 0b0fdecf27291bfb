import {
  createExportServer,
  exportServerReceive,
  exportServerRestore,
  exportServerStored,
} from "@rspp/protocol/export-server";
import type { ExportBatch, ExportServerOutput, ExportServerState, StreamId } from "@rspp/protocol/export-types";
import type { SignedGrant } from "@rspp/protocol/lease-types";
import { limits } from "@rspp/protocol/limits";
import type { Receiver } from "./lease-process.ts";
import type { SimProcess } from "./process.ts";

/** What the store keeps of a stream, whatever becomes of the process before it. */
export interface StoredStream {
  id: StreamId;
  /** By index. */
  chains: string[];
}

/** The replay service's side of export: the floor first, then the shipped server over a store that takes its time. */
export class ReplayProcess {
  readonly proc: SimProcess;
  receiver: Receiver;
  /** How long the store takes, milliseconds. */
  storeMs = 2;
  #busyUntilMs = 0;
  /** The medium. */
  readonly stored = new Map<string, StoredStream>();
  #server: ExportServerState = createExportServer();
  readonly #newReceiver: () => Receiver;
  /** The last head stored of a session, whatever epoch it was under. */
  readonly heads = new Map<string, string>();

  constructor(proc: SimProcess, newReceiver: () => Receiver) {
    this.proc = proc;
    this.#newReceiver = newReceiver;
    this.receiver = newReceiver();
  }

  crash(): void {
    if (!this.proc.dead()) this.proc.kill();
  }

  /** Begins again at what the store really holds, and with the floors that the lease service knows. */
  restart(): void {
    if (!this.proc.dead()) return;
    this.proc.restart();
    this.receiver = this.#newReceiver();
    const stored = [...this.stored.values()].map(({ id, chains }) => ({
      id,
      nextIndex: chains.length,
      recent: chains,
    }));
    this.#server = exportServerRestore(limits.EXPORT_STREAMS_MAX, stored);
  }

  /** `floor` above 0: refused, the sender is stale. */
  receive(
    batch: ExportBatch,
    epoch: number,
    signed: SignedGrant | null,
    answer: (output: ExportServerOutput) => void,
    stale: (floor: number) => void,
  ): void {
    const verdict = this.receiver.accept(batch.stream.session, epoch, signed, "export");
    if (!verdict.ok) {
      if (verdict.floor > epoch) stale(verdict.floor);
      return;
    }
    for (const output of exportServerReceive(this.#server, batch, this.heads.get(batch.stream.session) ?? "")) {
      if (output.kind !== "store") {
        answer(output);
        continue;
      }
      const last = output.records.at(-1);
      if (last === undefined) continue;
      const { session, epoch: streamEpoch } = output.stream;
      const { records } = output;
      // One after the other, however long each of them takes.
      const nowMs = this.proc.clock.nowNs() / 1e6;
      this.#busyUntilMs = Math.max(this.#busyUntilMs, nowMs + this.storeMs);
      this.proc.after(this.#busyUntilMs - nowMs, () => {
        this.#keep(output.stream, records);
        this.heads.set(session, last.chain);
        for (const stored of exportServerStored(this.#server, session, streamEpoch, last.index + 1)) answer(stored);
      });
    }
  }

  #keep(id: StreamId, records: readonly { index: number; chain: string }[]): void {
    const key = `${id.epoch}/${id.session}`;
    const stream = this.stored.get(key) ?? { id: { ...id }, chains: [] };
    this.stored.set(key, stream);
    for (const { index, chain } of records) stream.chains[index] = chain;
  }
}
