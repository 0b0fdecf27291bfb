import { createExportServer, exportServerReceive, exportServerStored } from "@rspp/protocol/export-server";
import type { ExportBatch, ExportServerOutput, ExportServerState } from "@rspp/protocol/export-types";
import type { SignedGrant } from "@rspp/protocol/lease-types";
import type { Receiver } from "./lease-process.ts";
import type { SimProcess } from "./process.ts";

/** The replay service's side of export: the floor first, then the shipped server over a store that takes its time. */
export class ReplayProcess {
  readonly proc: SimProcess;
  readonly receiver: Receiver;
  readonly server: ExportServerState = createExportServer();
  /** The last head stored of a session, whatever epoch it was under. */
  readonly heads = new Map<string, string>();

  constructor(proc: SimProcess, receiver: Receiver) {
    this.proc = proc;
    this.receiver = receiver;
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
    for (const output of exportServerReceive(this.server, batch, this.heads.get(batch.stream.session) ?? "")) {
      if (output.kind !== "store") {
        answer(output);
        continue;
      }
      const last = output.records.at(-1);
      if (last === undefined) continue;
      const { session, epoch: streamEpoch } = output.stream;
      this.proc.after(2, () => {
        this.heads.set(session, last.chain);
        for (const stored of exportServerStored(this.server, session, streamEpoch, last.index + 1)) answer(stored);
      });
    }
  }
}
