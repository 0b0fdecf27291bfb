/** A rollout as it is decided by, and its document (F-093). */
import { ok, type Result } from "@rspp/base/result";
import { placeOf } from "../places.ts";
import type { SpecProblem } from "../problem.ts";
import { readDocument } from "../published/read-document.ts";
import { rolloutSchema } from "./rollout-schema.ts";

export interface Rollout {
  /** The pipeline. */
  readonly name: string;
  readonly stable: number;
  readonly canary: { readonly version: number; readonly perTenThousand: number } | null;
  /** Tenant to version; before the canary. */
  readonly tenants: Readonly<Record<string, number>>;
  /** What a bucket is drawn by: sessions with one key get one version. */
  readonly stickyBy: { readonly kind: "session" } | { readonly kind: "variable"; readonly name: string };
  readonly salt: string;
}

interface RolloutDocument {
  readonly rollout: string;
  readonly stable: number;
  readonly canary?: { readonly version: number; readonly percent: number };
  readonly tenants?: Readonly<Record<string, number>>;
  readonly sticky_by?: string;
  readonly salt?: string;
}

/** Never throws. Whether the versions are published is told where they are known. */
export function parseRollout(text: string, fileName: string): Result<Rollout, SpecProblem[]> {
  const read = readDocument<RolloutDocument>(text, fileName, rolloutSchema, ({ canary, stable }, problems, places) => {
    if (canary === undefined) return;
    const { version, percent } = canary;
    const path = version === stable ? "canary.version" : "canary.percent";
    if (version === stable) {
      const message = `the canary is the stable version, ${stable}`;
      problems.add(placeOf(places, path), { path, code: "not_allowed", message, remedy: "name another version" });
    } else if (Math.abs(percent * 100 - Math.round(percent * 100)) > 1e-9) {
      const message = `${percent} is finer than a hundredth of a percent`;
      problems.add(placeOf(places, path), { path, code: "out_of_range", message, remedy: "round it to 0.01" });
    }
  });
  return read.ok ? ok(rolloutOf(read.value.value)) : read;
}

function rolloutOf({ rollout, stable, canary, tenants, sticky_by = "session", salt }: RolloutDocument): Rollout {
  const [, variable] = /^variable (.+)$/.exec(sticky_by) ?? [];
  return {
    name: rollout,
    stable,
    canary: canary === undefined ? null : { version: canary.version, perTenThousand: Math.round(canary.percent * 100) },
    tenants: tenants ?? {},
    stickyBy: variable === undefined ? { kind: "session" } : { kind: "variable", name: variable },
    salt: salt ?? "",
  };
}

/** Every version it may choose, each once. */
export function versionsOf({ stable, canary, tenants }: Rollout): number[] {
  return [...new Set([stable, ...(canary === null ? [] : [canary.version]), ...Object.values(tenants)])];
}
