import { and, desc, eq, lt } from "drizzle-orm";
import type { AuditStore } from "./audit-store.ts";
import type { Database } from "./database.ts";
import { checkLimit } from "./page.ts";
import { audit as a } from "./schema.ts";
import { StoreError } from "./store-error.ts";

const detailCharsMax = 16_384;

export function pgAuditStore(db: Database): AuditStore {
  return {
    append: async (entry) => {
      if (JSON.stringify(entry.detail).length > detailCharsMax) {
        throw new StoreError(
          "invalid",
          "The detail of an audit entry is larger than 16 KiB",
          "Name things, do not quote them",
        );
      }
      await db.transaction(async (tx) => {
        await tx.insert(a).values({ ...entry, detail: { ...entry.detail } });
      });
    },
    list: async ({ tenantId, limit, before }) => {
      checkLimit(limit);
      return db.transaction((tx) =>
        tx
          .select()
          .from(a)
          .where(and(eq(a.tenantId, tenantId), before === undefined ? undefined : lt(a.id, before)))
          .orderBy(desc(a.id))
          .limit(limit),
      );
    },
  };
}
