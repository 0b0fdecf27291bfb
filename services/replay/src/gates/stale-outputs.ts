/** Outputs accepted under an epoch that was no longer in force (NF-027; `kernel.md` §7), as far as a record can show any. */
import type { SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import type { DeliveryAddendum, SealedEvidence } from "@rspp/kernel/evidence";
import type { Recording } from "../re-execute.ts";

/** What only the holder of the epoch in force may do, or have taken from it. */
const outputSignals: ReadonlySet<string> = new Set(["turn_open", "commit", "output_accepted", "playback_started"]);
/** Of those, what the runtime itself decides: nothing that is under way can bring it after the end of its authority. */
const decisions: ReadonlySet<string> = new Set(["turn_open", "commit"]);

interface Opening {
  readonly turn: number;
  readonly epoch: number;
  readonly wallMs: number;
}

/** @param chain the runs of one session, by rising epoch. */
export function staleOutputs(session: string, chain: readonly Recording[]): { outputs: number; stale: string[] } {
  const stale: string[] = [];
  const openings: Opening[] = [];
  let outputs = 0;
  for (const run of chain) {
    outputs += ofSignals(session, run, stale);
    for (const { content } of run.records) ofRecord(session, content as TimelineRecord | null, openings, stale);
  }
  for (const { turn, epoch, wallMs } of openings) {
    const newer = openings.find((other) => other.epoch > epoch && other.wallMs < wallMs);
    if (newer === undefined) continue;
    stale.push(`${session} turn ${turn}: opened under epoch ${epoch} after turn ${newer.turn} under ${newer.epoch}`);
  }
  return { outputs, stale };
}

function ofSignals(session: string, run: Recording, stale: string[]): number {
  const reports = reportedUnder(run);
  let outputs = 0;
  let highest = 0;
  let drainedEpoch = 0;
  for (const { signal, turn, epoch, cause } of run.signals as SignalEvent[]) {
    highest = Math.max(highest, epoch);
    if (signal === "deauthorized_drain") drainedEpoch = epoch;
    if (!outputSignals.has(signal)) continue;
    outputs += 1;
    const told = `${session} turn ${turn}: ${signal} under epoch ${epoch}`;
    const reported = reports.get(cause);
    if (epoch < highest) stale.push(`${told} while ${highest} was in force`);
    else if (decisions.has(signal) && drainedEpoch === epoch) stale.push(`${told} after that was drained`);
    else if (reported !== undefined && reported < epoch) stale.push(`${told} by a report of epoch ${reported}`);
  }
  return outputs;
}

/** The epoch that each report of delivery bore, by its sequence (L1 and L2). */
function reportedUnder({ entries }: Recording): Map<number, number> {
  const found = new Map<number, number>();
  for (const { batch } of entries)
    for (const { seq, body } of batch.inputs) if (body.type === "delivery") found.set(seq, body.epoch);
  return found;
}

function ofRecord(session: string, record: TimelineRecord | null, openings: Opening[], stale: string[]): void {
  if (record?.kind === "evidence") {
    const { epochAtOpen, epochAtTerminal, opened } = (record.manifest as SealedEvidence).manifest;
    if (epochAtOpen === null) return;
    if (opened !== null) openings.push({ turn: record.turn, epoch: epochAtOpen, wallMs: opened.wallMs });
    if (epochAtTerminal !== null && epochAtTerminal < epochAtOpen)
      stale.push(`${session} turn ${record.turn}: ended under epoch ${epochAtTerminal}, opened under ${epochAtOpen}`);
  } else if (record?.kind === "delivery_addendum") {
    const { epochAtSettlement } = record.addendum as DeliveryAddendum;
    const opened = openings.find(({ turn }) => turn === record.turn);
    if (opened !== undefined && epochAtSettlement < opened.epoch)
      stale.push(
        `${session} turn ${record.turn}: settled under epoch ${epochAtSettlement}, opened under ${opened.epoch}`,
      );
  }
}
