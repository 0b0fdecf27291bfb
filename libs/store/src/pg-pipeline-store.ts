import { createHash } from "node:crypto";
import { and, desc, eq, lt, type SQL, sql } from "drizzle-orm";
import { hasRollout, lockName, type NameOf, noteVersion, PLATFORM_TENANT, setActive } from "./active-versions.ts";
import type { Database, Tx } from "./database.ts";
import { checkLimit, pagePosition, pageToken } from "./page.ts";
import type { ArtifactKind, NewVersion, PipelineStore, PublishOutcome, VersionInfo } from "./pipeline-store.ts";
import { publishedVersions as t } from "./schema.ts";
import { StoreError } from "./store-error.ts";

const contentBytesMax = 1_048_576;

export const infoColumns = {
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

export function infoOf<R extends Row>(row: R): Omit<R, "digest" | "kind"> & { digest: string; kind: ArtifactKind } {
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
        await noteVersion(tx, infoOf(changed), deprecated ? "deprecate" : "undeprecate", { actor, atWallMs });
        return true;
      }),
  };
}

function identity(of: NameOf): SQL[] {
  return [eq(t.tenantId, of.tenantId), eq(t.kind, of.kind), eq(t.name, of.name)];
}

async function publish(tx: Tx, wanted: NewVersion): Promise<PublishOutcome> {
  const digest = createHash("sha256").update(wanted.content).digest();
  await lockName(tx, wanted);
  const existing = await newestOf(tx, wanted, wanted.version);
  const offeredDigest = digest.toString("hex");
  if (existing?.digest === offeredDigest) return { kind: "unchanged", version: existing, activated: false };
  if (existing !== undefined && wanted.version !== null) return { kind: "immutable", existing, offeredDigest };
  const platform = await platformVersion(tx, wanted);
  if (platform !== undefined && platform.version === wanted.version && platform.digest !== offeredDigest) {
    return { kind: "immutable", existing: platform, offeredDigest };
  }
  const version = wanted.version ?? Math.max(existing?.version ?? 0, platform?.version ?? 0) + 1;
  const { keepActive = false, auditDetail = {}, ...columns } = wanted;
  const [row] = await tx
    .insert(t)
    .values({ ...columns, version, digest })
    .returning(infoColumns);
  if (row === undefined) throw new StoreError("internal", "A version was not stored", "This is a bug: report it");
  const info = infoOf(row);
  const { author: actor, publishedWallMs: atWallMs } = wanted;
  const activated = !keepActive && !(wanted.kind === "pipeline" && (await hasRollout(tx, wanted)));
  if (activated) await setActive(tx, info, { actor, atWallMs });
  await noteVersion(tx, info, "publish", { actor, atWallMs }, auditDetail);
  return { kind: "published", version: info, activated };
}

/** Without a version the newest; else that one. */
async function newestOf(tx: Tx, of: NameOf, version: number | null): Promise<VersionInfo | undefined> {
  const exact = version === null ? undefined : eq(t.version, version);
  const [found] = await tx
    .select(infoColumns)
    .from(t)
    .where(and(...identity(of), exact))
    .orderBy(desc(t.version))
    .limit(1);
  return found && infoOf(found);
}

/**
 * What the platform has under the name, for a tenant that begins to have its own: one number never means two pipelines to
 * it, since sessions under way hold the platform's by number.
 */
function platformVersion(tx: Tx, { tenantId, kind, name, version }: NewVersion): Promise<VersionInfo | undefined> {
  if (kind !== "pipeline" || tenantId === PLATFORM_TENANT) return Promise.resolve(undefined);
  return newestOf(tx, { tenantId: PLATFORM_TENANT, kind, name }, version);
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
