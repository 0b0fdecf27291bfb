import { and, desc, eq, gt, lt, or, sql } from "drizzle-orm";
import type { Database } from "./database.ts";
import { checkLimit, pagePosition, pageToken } from "./page.ts";
import { signingKeys as k, accessTokens as t } from "./schema.ts";
import type { TokenStore } from "./token-store.ts";

const keysMax = 16;
const revokedMax = 10_000;
/** In place of an instant of use. */
const stolenMark = -1;

export function pgTokenStore(db: Database): TokenStore {
  return { ...keyCalls(db), ...tokenCalls(db) };
}

function keyCalls(db: Database): Pick<TokenStore, "listKeys" | "publishKey" | "noteUse" | "retireKey"> {
  const of = (purpose: string, keyId: string) => and(eq(k.purpose, purpose), eq(k.keyId, keyId));
  return {
    listKeys: (purpose, nowWallMs) =>
      db.transaction((tx) =>
        tx
          .select({ keyId: k.keyId, publicKey: k.publicKey, notAfterWallMs: k.notAfterWallMs })
          .from(k)
          .where(and(eq(k.purpose, purpose), or(eq(k.notAfterWallMs, 0), gt(k.notAfterWallMs, nowWallMs))))
          .orderBy(desc(k.createdWallMs), desc(k.keyId))
          .limit(keysMax),
      ),
    publishKey: (purpose, { keyId, publicKey }, nowWallMs) =>
      db.transaction(async (tx) => {
        // One that signs again is not on its way out any longer, unless it was stolen.
        const notAfterWallMs = sql`CASE WHEN ${k.usedUntilWallMs} = ${stolenMark} THEN ${k.notAfterWallMs} ELSE 0 END`;
        const [found] = await tx
          .insert(k)
          .values({ purpose, keyId, publicKey, createdWallMs: nowWallMs, seenWallMs: nowWallMs })
          .onConflictDoUpdate({ target: [k.purpose, k.keyId], set: { seenWallMs: nowWallMs, notAfterWallMs } })
          .returning({ usedUntilWallMs: k.usedUntilWallMs });
        return found?.usedUntilWallMs === stolenMark ? "stolen" : "published";
      }),
    noteUse: (purpose, keyId, untilWallMs) =>
      db.transaction(async (tx) => {
        const later = sql`greatest(${k.usedUntilWallMs}, ${untilWallMs})`;
        await tx
          .update(k)
          .set({ usedUntilWallMs: later })
          .where(and(of(purpose, keyId), gt(k.usedUntilWallMs, stolenMark)));
      }),
    retireKey: (purpose, keyId, { notAfterWallMs, stolen }) =>
      db.transaction(async (tx) => {
        const end = stolen ? notAfterWallMs : sql`greatest(${k.usedUntilWallMs}, ${notAfterWallMs})`;
        const [found] = await tx
          .update(k)
          .set({ notAfterWallMs: end, ...(stolen ? { usedUntilWallMs: stolenMark } : {}) })
          .where(of(purpose, keyId))
          .returning({ end: k.notAfterWallMs });
        return found?.end ?? notAfterWallMs;
      }),
  };
}

function tokenCalls(db: Database): Pick<TokenStore, "addToken" | "listTokens" | "revokeToken" | "revokedIds"> {
  return {
    addToken: (row) => db.transaction(async (tx) => void (await tx.insert(t).values(row))),
    listTokens: async ({ tenantId, limit, after }) => {
      checkLimit(limit);
      const [issued, id] = after === null ? [] : pagePosition(after, ["number", "string"]);
      const beyond =
        issued === undefined || id === undefined
          ? undefined
          : or(lt(t.issuedWallMs, issued), and(eq(t.issuedWallMs, issued), lt(t.tokenId, id)));
      const found = await db.transaction((tx) =>
        tx
          .select()
          .from(t)
          .where(and(eq(t.tenantId, tenantId), beyond))
          .orderBy(desc(t.issuedWallMs), desc(t.tokenId))
          .limit(limit + 1),
      );
      const tokens = found.slice(0, limit);
      const last = tokens.at(-1);
      const more = found.length > limit && last !== undefined;
      return { tokens, next: more ? pageToken([last.issuedWallMs, last.tokenId]) : null };
    },
    revokeToken: (tenantId, tokenId, nowWallMs) =>
      db.transaction(async (tx) => {
        const once = sql`CASE WHEN ${t.revokedWallMs} = 0 THEN ${nowWallMs} ELSE ${t.revokedWallMs} END`;
        const [found] = await tx
          .update(t)
          .set({ revokedWallMs: once })
          .where(and(eq(t.tenantId, tenantId), eq(t.tokenId, tokenId)))
          .returning();
        return found;
      }),
    revokedIds: async (nowWallMs) => {
      const found = await db.transaction((tx) =>
        tx
          .select({ tokenId: t.tokenId })
          .from(t)
          .where(and(gt(t.revokedWallMs, 0), gt(t.expiresWallMs, nowWallMs)))
          .orderBy(desc(t.revokedWallMs))
          .limit(revokedMax),
      );
      return found.map(({ tokenId }) => tokenId);
    },
  };
}
