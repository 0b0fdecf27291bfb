/** What of a change of versions belongs into its own transaction: the lock on the name, the version in force, the audit. */
import { and, eq, gt, sql } from "drizzle-orm";
import type { Tx } from "./database.ts";
import { appendAudit } from "./pg-audit-store.ts";
import type { ArtifactKind, VersionInfo } from "./pipeline-store.ts";
import { activeVersions as a } from "./schema.ts";

/** The platform's own tenant, which every tenant inherits from. */
export const PLATFORM_TENANT = "*";

export interface NameOf {
  readonly tenantId: string;
  readonly kind: ArtifactKind;
  readonly name: string;
}

export interface By {
  readonly actor: string;
  readonly atWallMs: number;
}

/**
 * Who changes one name takes turns, over all tenants: without this the second publisher would fail on the key instead of
 * comparing bytes, and a tenant's first version could take a number the platform gives at the same moment.
 */
export async function lockName(tx: Tx, { kind, name }: NameOf): Promise<void> {
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended(${JSON.stringify([kind, name])}, 15))`);
}

const ofName = ({ tenantId, kind, name }: NameOf) => and(eq(a.tenantId, tenantId), eq(a.kind, kind), eq(a.name, name));

/** 0: withdrawn; undefined: never was in force. */
export async function activeVersion(tx: Tx, of: NameOf): Promise<number | undefined> {
  const [row] = await tx.select({ version: a.version }).from(a).where(ofName(of));
  return row?.version;
}

/** @param version.version 0 withdraws. */
export async function setActive(tx: Tx, { tenantId, kind, name, version }: NameOf & { version: number }, by: By) {
  const values = { tenantId, kind, name, version, changedWallMs: by.atWallMs, changedBy: by.actor };
  await tx
    .insert(a)
    .values(values)
    .onConflictDoUpdate({ target: [a.tenantId, a.kind, a.name], set: values });
}

/** Whether a rollout of the tenant decides over its pipeline of that name. */
export async function hasRollout(tx: Tx, { tenantId, name }: NameOf): Promise<boolean> {
  const rollout = ofName({ tenantId, kind: "rollout", name });
  return (
    (
      await tx
        .select({ version: a.version })
        .from(a)
        .where(and(rollout, gt(a.version, 0)))
    ).length > 0
  );
}

export async function noteVersion(
  tx: Tx,
  { tenantId, kind, name, version, digest }: Pick<VersionInfo, "tenantId" | "kind" | "name" | "version" | "digest">,
  action: string,
  by: By,
  detail: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const { actor, atWallMs } = by;
  await appendAudit(tx, {
    tenantId,
    atWallMs,
    actor,
    action,
    subject: `${kind}/${name}@${version}`,
    detail: { digest, ...detail },
  });
}
