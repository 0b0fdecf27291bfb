import { and, asc, desc, eq } from "drizzle-orm";
import type { ActiveDocuments } from "./active-documents.ts";
import type { Database } from "./database.ts";
import type { ArtifactKind } from "./pipeline-store.ts";
import { publishedVersions as v } from "./schema.ts";

const channel = "rspp_active_versions";
const documentsMax = 4_096;

export function pgActiveDocuments(db: Database): ActiveDocuments {
  return {
    list: async (kind) => {
      const rows = await db.transaction((tx) =>
        tx
          .selectDistinctOn([v.tenantId, v.name])
          .from(v)
          .where(and(eq(v.kind, kind), eq(v.deprecated, false)))
          .orderBy(asc(v.tenantId), asc(v.name), desc(v.version))
          .limit(documentsMax),
      );
      return rows.map(({ tenantId, kind: of, name, version, digest, content }) => ({
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
