/** Which version a session gets (F-093): a pure function of the rollout and the session, so that everybody decides alike. */
import { canonicalJson } from "@rspp/base/canonical-json";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import type { Rollout } from "./rollout.ts";

export interface RolloutFacts {
  readonly tenantId: string;
  readonly sessionId: string;
  /** JSON texts by name. */
  readonly variables: Readonly<Record<string, string>>;
}

export interface RolloutChoice {
  readonly version: number;
  readonly source: "tenant_list" | "canary" | "stable";
  /** 0 to 9999. */
  readonly bucket: number;
}

export const BUCKETS = 10_000;
const bucketDigits = 16;

/**
 * The tenant's own version, else the canary for the first buckets, else the stable one. A larger percentage keeps every
 * session that had the canary. A session without the variable that is asked for is drawn by its id.
 */
export function decideRollout(rollout: Rollout, facts: RolloutFacts): RolloutChoice {
  const bucket = bucketOf(rollout.name, rollout.salt, keyOf(rollout, facts));
  const listed = Object.hasOwn(rollout.tenants, facts.tenantId) ? rollout.tenants[facts.tenantId] : undefined;
  if (listed !== undefined) return { version: listed, source: "tenant_list", bucket };
  const { canary, stable } = rollout;
  if (canary !== null && bucket < canary.perTenThousand) return { version: canary.version, source: "canary", bucket };
  return { version: stable, source: "stable", bucket };
}

/** The first eight bytes of SHA-256 over name, salt and key, modulo 10000. */
export function bucketOf(name: string, salt: string, key: string): number {
  const digest = sha256Utf8Hex(canonicalJson([name, salt, key]));
  return Number(BigInt(`0x${digest.slice(0, bucketDigits)}`) % BigInt(BUCKETS));
}

/** Tenants and kinds of keys apart: two tenants' sessions of one id are two draws. */
function keyOf({ stickyBy }: Rollout, { tenantId, sessionId, variables }: RolloutFacts): string {
  if (stickyBy.kind === "variable") {
    const { name } = stickyBy;
    const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
    if (value !== undefined && value !== "null") return canonicalJson(["variable", tenantId, value]);
  }
  return canonicalJson(["session", tenantId, sessionId]);
}
