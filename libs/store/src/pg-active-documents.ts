import { and, asc, eq } from "drizzle-orm";
import { ACTIVE_DOCUMENTS_MAX, type ActiveDocuments } from "./active-documents.ts";
import type { Database } from "./database.ts";
import type { ArtifactKind } from "./pipeline-store.ts";
import { activeVersions as a, publishedVersions as v } from "./schema.ts";

const channel = "rspp_active_versions";

export function pgActiveDocuments(db: Database): ActiveDocuments {
  return {
    list: async (kind) => {
      const inForce = and(
        eq(v.tenantId, a.tenantId),
        eq(v.kind, a.kind),
        eq(v.name, a.name),
        // A withdrawn one has version 0, which nobody published.
        eq(v.version, a.version),
      );
      const rows = await db.transaction((tx) =>
        tx
          .select({ document: v })
          .from(a)
          .innerJoin(v, inForce)
          .where(eq(a.kind, kind))
          .orderBy(asc(a.tenantId), asc(a.name))
          .limit(ACTIVE_DOCUMENTS_MAX),
      );
      return rows.map(({ document: { tenantId, kind: of, name, version, digest, content } }) => ({
        tenantId,
        kind: of as ArtifactKind,
        name,
        version,
        digest: Buffer.from(digest).toString("hex"),
        content: new Uint8Array(content),
      }));
    },
    onChange: (wake) => db.listen(channel, wake),
  };
}
