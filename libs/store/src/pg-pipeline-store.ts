import { createHash } from "node:crypto";
import { and, desc, eq, lt, type SQL, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { checkLimit, pagePosition, pageToken } from "./page.ts";
import type { ArtifactKind, NewVersion, PipelineStore, PublishOutcome, VersionInfo } from "./pipeline-store.ts";
import { audit, publishedVersions as t } from "./schema.ts";
import { StoreError } from "./store-error.ts";

const contentBytesMax = 1_048_576;

const infoColumns = {
  tenantId: t.tenantId,
  kind: t.kind,
  name: t.name,
  version: t.version,
  digest: t.digest,
  author: t.author,
  publishedWallMs: t.publishedWallMs,
  note: t.note,
  deprecated: t.deprecated,
};

type Row = Omit<VersionInfo, "digest" | "kind"> & { digest: Uint8Array; kind: string };

function infoOf<R extends Row>(row: R): Omit<R, "digest" | "kind"> & { digest: string; kind: ArtifactKind } {
  return { ...row, kind: row.kind as ArtifactKind, digest: Buffer.from(row.digest).toString("hex") };
}

export function pgPipelineStore(db: Database): PipelineStore {
  return {
    publish: (version) => {
      if (Math.max(version.content.length, version.source.length) > contentBytesMax) {
        throw new StoreError("invalid", "The content is larger than 1 MiB", "Split it into modules");
      }
      return db.transaction((tx) => publish(tx, version));
    },
    get: (tenantId, kind, name, version) =>
      db.transaction(async (tx) => {
        const exact = version === 0 ? undefined : eq(t.version, version);
        const rows = await tx
          .select()
          .from(t)
          .where(and(eq(t.tenantId, tenantId), eq(t.kind, kind), eq(t.name, name), exact))
          .orderBy(desc(t.version))
          .limit(1);
        return rows[0] && infoOf(rows[0]);
      }),
    list: async (ask) => {
      checkLimit(ask.limit);
      return ask.name === undefined ? listNames(db, ask) : listVersions(db, ask, ask.name);
    },
    setDeprecated: (of, deprecated, { actor, atWallMs }) =>
      db.transaction(async (tx) => {
        const [changed] = await tx
          .update(t)
          .set({ deprecated })
          .where(and(...identity(of), eq(t.version, of.version)))
          .returning(infoColumns);
        if (changed === undefined) return false;
        await note(tx, infoOf(changed), deprecated ? "deprecate" : "undeprecate", actor, atWallMs);
        return true;
      }),
  };
}

/** In the transaction of the change itself. */
async function note(tx: Tx, version: VersionInfo, what: string, actor: string, atWallMs: number): Promise<void> {
  const { tenantId, kind, name, digest } = version;
  const subject = `${kind}/${name}@${version.version}`;
  await tx.insert(audit).values({ tenantId, atWallMs, actor, action: what, subject, detail: { digest } });
}

function identity(of: { readonly tenantId: string; readonly kind: string; readonly name: string }): SQL[] {
  return [eq(t.tenantId, of.tenantId), eq(t.kind, of.kind), eq(t.name, of.name)];
}

async function publish(tx: Tx, wanted: NewVersion): Promise<PublishOutcome> {
  const digest = createHash("sha256").update(wanted.content).digest();
  // Two publishers of one name take turns; without this the second would fail on the key instead of comparing bytes.
  const lockName = JSON.stringify([wanted.tenantId, wanted.kind, wanted.name]);
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended(${lockName}, 15))`);
  const exact = wanted.version === null ? undefined : eq(t.version, wanted.version);
  const [found] = await tx
    .select(infoColumns)
    .from(t)
    .where(and(...identity(wanted), exact))
    .orderBy(desc(t.version))
    .limit(1);
  const existing = found && infoOf(found);
  if (existing?.digest === digest.toString("hex")) return { kind: "unchanged", version: existing };
  if (existing !== undefined && wanted.version !== null) {
    return { kind: "immutable", existing, offeredDigest: digest.toString("hex") };
  }
  const version = wanted.version ?? (existing?.version ?? 0) + 1;
  const [row] = await tx
    .insert(t)
    .values({ ...wanted, version, digest })
    .returning(infoColumns);
  if (row === undefined) throw new StoreError("internal", "A version was not stored", "This is a bug: report it");
  await note(tx, infoOf(row), "publish", wanted.author, wanted.publishedWallMs);
  return { kind: "published", version: infoOf(row) };
}

interface ListAsk {
  readonly tenantId: string;
  readonly kind: ArtifactKind;
  readonly limit: number;
  readonly after?: string | null;
}

function listVersions(db: Database, ask: ListAsk, name: string) {
  const before = ask.after ? lt(t.version, pagePosition(ask.after, ["number"])[0]) : undefined;
  return db.transaction(async (tx) => {
    const rows = await tx
      .select(infoColumns)
      .from(t)
      .where(and(...identity({ ...ask, name }), before))
      .orderBy(desc(t.version))
      .limit(ask.limit + 1);
    const versions = rows.slice(0, ask.limit).map(infoOf);
    return { versions, next: rows.length > ask.limit ? pageToken([versions.at(-1)?.version ?? 0]) : null };
  });
}

function listNames(db: Database, ask: ListAsk) {
  const position = ask.after ? pagePosition(ask.after, ["number", "string"]) : undefined;
  return db.transaction(async (tx) => {
    const newest = tx
      .selectDistinctOn([t.name], infoColumns)
      .from(t)
      .where(and(eq(t.tenantId, ask.tenantId), eq(t.kind, ask.kind)))
      .orderBy(t.name, desc(t.version))
      .as("newest");
    const rows = await tx
      .select()
      .from(newest)
      .where(position && sql`(${newest.publishedWallMs}, ${newest.name}) < (${position[0]}, ${position[1]})`)
      .orderBy(desc(newest.publishedWallMs), desc(newest.name))
      .limit(ask.limit + 1);
    const versions = rows.slice(0, ask.limit).map(infoOf);
    const last = versions.at(-1);
    return { versions, next: rows.length > ask.limit && last ? pageToken([last.publishedWallMs, last.name]) : null };
  });
}
