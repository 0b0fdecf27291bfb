/** Durable state of one hosted session: its writer, its predecessor, and what a hand-over asks of it (kernel.md §7, §8). */
import type { TextSpan } from "@rspp/kernel/event";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { KernelPort } from "../kernel-port.ts";
import type { SessionHostPorts } from "../session-types.ts";
import type { Spool, StreamId } from "../spool/spool.ts";
import type { HandoverPort } from "./handover.ts";
import { DurableWriter } from "./writer.ts";

/** Null where no durable state is kept. */
export function durableWriter(
  config: SessionConfig,
  { kernel, state: store, clock, spool }: Pick<SessionHostPorts, "kernel" | "state" | "clock" | "spool">,
  stream: StreamId,
  kernelState: unknown,
  text: (spans: readonly TextSpan[]) => string,
): DurableWriter | null {
  const { durable } = kernel;
  if (store === null || durable === undefined) return null;
  const { tenantId, sessionId, takeover } = config;
  return new DurableWriter({
    session: { tenantId, sessionId },
    version: takeover?.stateVersion ?? 0,
    audioThrough: takeover?.durable?.audioThrough ?? 0,
    store,
    clock,
    text,
    epoch: () => stream.epoch,
    state: () => durable.state(kernelState, clock.nowNs()),
    mark: (name, fields) => {
      const named = Object.entries(fields).map(([field, value]) => [field, String(value)]);
      spool.marker(stream, name, Object.fromEntries(named));
    },
  });
}

/** The tail of a lost predecessor's timeline may be missing: declared loss, never complete (kernel.md §11). */
export function declarePredecessor(spool: Spool, stream: StreamId, { takeover }: SessionConfig): void {
  if (takeover === undefined || takeover.planned) return;
  const { predecessor, predecessorEpoch, lostBoundMs: boundMs, openTurn } = takeover;
  const lost = { predecessor, predecessorEpoch, boundMs, openTurn: openTurn?.number ?? 0 };
  spool.append(stream, "predecessor_lost", JSON.stringify(lost));
}

export function handoverOf(
  writer: DurableWriter | null,
  kernel: KernelPort,
  kernelState: unknown,
  released: () => void,
): HandoverPort | null {
  const { durable } = kernel;
  if (writer === null || durable === undefined) return null;
  return {
    atTurnBoundary: () => durable.atTurnBoundary(kernelState),
    flush: (deadlineMs) => writer.flush(deadlineMs),
    released,
  };
}
