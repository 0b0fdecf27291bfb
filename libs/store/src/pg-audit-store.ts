import { and, asc, desc, eq, gte, lt, sql } from "drizzle-orm";
import type { AuditEntry, AuditStore } from "./audit-store.ts";
import type { Database, Tx } from "./database.ts";
import { checkLimit } from "./page.ts";
import { audit as a, auditHead } from "./schema.ts";
import { StoreError } from "./store-error.ts";

const detailCharsMax = 16_384;
const entriesMax = 256;

const columns = {
  id: a.id,
  tenantId: a.tenantId,
  atWallMs: a.atWallMs,
  actor: a.actor,
  action: a.action,
  subject: a.subject,
  detail: a.detail,
  previous: a.previous,
  digest: a.digest,
  row: sql<string>`rspp.audit_row(audit)`,
};

/**
 * In the transaction of the change itself: it stands in the log, or did not happen. The chain's lock is taken here and held
 * until the commit, so this is the last thing a transaction writes.
 */
export async function appendAudit(tx: Tx, entry: AuditEntry): Promise<void> {
  checkEntry(entry);
  await tx.insert(a).values({ ...entry, detail: { ...entry.detail } });
}

export function pgAuditStore(db: Database): AuditStore {
  const appendMany: AuditStore["appendMany"] = async (entries, report) => {
    for (const entry of entries) checkEntry(entry);
    if (entries.length > entriesMax) {
      throw new StoreError("invalid", `More than ${entriesMax} audit entries at once`, "Append them in parts");
    }
    await db.transaction(async (tx) => {
      if (report !== undefined) {
        // Under the chain's own lock, so that two that send the same take turns.
        await tx.select().from(auditHead).for("update");
        const seen = await tx
          .select({ id: a.id })
          .from(a)
          .where(sql`${a.detail} ? 'report' AND ${a.detail}->>'report' = ${report}`)
          .limit(1);
        if (seen.length > 0) return;
      }
      const more = report === undefined ? {} : { report };
      if (entries.length > 0) {
        await tx.insert(a).values(entries.map((entry) => ({ ...entry, detail: { ...entry.detail, ...more } })));
      }
    });
  };
  return {
    append: (entry) => appendMany([entry]),
    appendMany,
    list: async ({ tenantId, limit, before, action }) => {
      checkLimit(limit);
      const page = before === undefined ? undefined : lt(a.id, before);
      const named = action === undefined ? undefined : sql`position(${action} in ${a.action}) > 0`;
      return db.transaction((tx) =>
        tx
          .select(columns)
          .from(a)
          .where(and(eq(a.tenantId, tenantId), page, named))
          .orderBy(desc(a.id))
          .limit(limit),
      );
    },
    read: async ({ fromId, limit }) => {
      checkLimit(limit);
      return db.transaction((tx) =>
        tx.select(columns).from(a).where(gte(a.id, fromId)).orderBy(asc(a.id)).limit(limit),
      );
    },
    head: () =>
      db.transaction(async (tx) => {
        const [found] = await tx.select().from(auditHead);
        return { id: found?.lastId ?? 0, digest: found?.lastDigest ?? new Uint8Array(32) };
      }),
  };
}

function checkEntry({ detail }: AuditEntry): void {
  if (JSON.stringify(detail).length <= detailCharsMax) return;
  throw new StoreError(
    "invalid",
    "The detail of an audit entry is larger than 16 KiB",
    "Name things, do not quote them",
  );
}
