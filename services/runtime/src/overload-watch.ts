/**
 * Notices that a session's inputs wait too long for the core (NF-006): where its pipeline declares postures, it is asked to
 * step down rather than to fail.
 */
import { msToNs } from "@rspp/base/brand";
import type { InputBody } from "@rspp/kernel/input";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { limits } from "./limits.ts";

export class OverloadWatch {
  private toldNs = Number.NEGATIVE_INFINITY;

  /** @returns what the kernel is to be told, at most once a second; null where all is well. */
  look(polledNs: number, oldestNs: number | undefined): InputBody | null {
    if (oldestNs === undefined || polledNs - oldestNs < msToNs(limits.OVERLOAD_WAIT_MS)) return null;
    if (polledNs - this.toldNs < msToNs(limits.OVERLOAD_TELL_MS)) return null;
    this.toldNs = polledNs;
    return {
      type: "capacity",
      admit: true,
      outcome: "defer",
      reason: "overload",
      evidenceQuotaBytes: -1,
      overload: true,
    };
  }
}

/** Null where the pipeline could not step down. */
export function overloadWatch({ graph }: SessionConfig): OverloadWatch | null {
  return graph.degrade === undefined ? null : new OverloadWatch();
}
