/**
 * Timelines go when their tenant's configuration says so (F-116): `retention.recordings_days` of the tenant's own document,
 * else of the platform's; where neither says anything they stay for ever. Rows and the audit entry go in one transaction,
 * then the bytes that nobody needs any more; a crash between the two leaves them to {@link OrphanSweep}. Any number of
 * processes may sweep.
 */
import { publishedTenantConfig } from "@rspp/spec/tenant/tenant-config";
import { ACTIVE_DOCUMENTS_MAX, type ActiveDocument, type ActiveDocuments } from "@rspp/store/active-documents";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";
import type { TimelineRetention } from "@rspp/store/timeline-retention";
import { limits } from "./limits.ts";
import type { SweepOptions } from "./orphan-sweep.ts";

export interface RetentionPorts {
  readonly retention: TimelineRetention;
  readonly documents: Pick<ActiveDocuments, "list">;
  /** Who stands in the audit log. */
  readonly actor: string;
}

/** How long a tenant's timelines are kept, and who says so. */
interface Period {
  readonly days: number;
  readonly document: ActiveDocument;
}

const dayMs = 86_400_000;

export class RetentionSweep {
  readonly #options: SweepOptions & RetentionPorts;
  /** The last tenant that was looked at. */
  #after = "";

  constructor(options: SweepOptions & RetentionPorts) {
    this.#options = options;
  }

  /** Looks at the next {@link limits.RETENTION_TENANTS} tenants. @returns how many timelines went. Rejects with a StoreError. */
  async step(): Promise<number> {
    const { documents, retention } = this.#options;
    const active = await documents.list("tenant_config");
    if (active.length === 0) return 0;
    const periods = this.#periods(active);
    const tenants = await retention.tenants(this.#after, limits.RETENTION_TENANTS);
    let gone = 0;
    for (const tenantId of tenants) {
      const period = periods(tenantId);
      const left = limits.RETENTION_TIMELINES - gone;
      if (period !== null) gone += await this.#expire(tenantId, period, left);
      // What is left of this one is its turn's in the next step.
      if (gone >= limits.RETENTION_TIMELINES) return gone;
      this.#after = tenantId;
    }
    if (tenants.length < limits.RETENTION_TENANTS) this.#after = "";
    return gone;
  }

  /** A document that cannot be read removes nothing: neither does the platform's in its place, which might say less. */
  #periods(active: readonly ActiveDocument[]): (tenantId: string) => Period | null {
    const read = new Map(
      active.map((document) => [document.tenantId, { document, config: publishedTenantConfig(document.content) }]),
    );
    for (const { document, config } of read.values()) {
      if (config !== null) continue;
      const { tenantId, version } = document;
      this.#options.log.warn(
        { tenantId, version },
        "a tenant's configuration cannot be read: nothing is removed by it",
      );
    }
    // Cut off, the list may lack a tenant's own document, which may keep longer than the platform's.
    const owners = active.length < ACTIVE_DOCUMENTS_MAX ? [PLATFORM_TENANT] : [];
    return (tenantId) => {
      for (const owner of [tenantId, ...owners]) {
        const found = read.get(owner);
        if (found === undefined) continue;
        if (found.config === null) return null;
        const days = found.config.retention?.recordings_days;
        if (days !== undefined) return { days, document: found.document };
      }
      return null;
    };
  }

  async #expire(tenantId: string, { days, document }: Period, limit: number): Promise<number> {
    const { retention, actor, index, objects, log, wallMs } = this.#options;
    const nowWallMs = wallMs();
    const expired = await retention.expire({
      tenantId,
      // However short the time: what a runtime may still be sending stays.
      beforeWallMs: nowWallMs - Math.max(days * dayMs, limits.RETENTION_LEAST_MS),
      nowWallMs,
      limit: Math.min(limit, limits.RETENTION_TIMELINES_AT_ONCE),
      actor,
      reason: {
        policy: `${document.kind}/${document.name}@${document.version}`,
        policy_tenant: document.tenantId,
        policy_digest: document.digest,
        recordings_days: days,
      },
    });
    if (expired.sessions.length === 0) return 0;
    const { records, bytes } = expired;
    log.info(
      { tenantId, timelines: expired.sessions.length, records, bytes, days },
      "timelines past their time removed",
    );
    for (let from = 0; from < expired.objectKeys.length; from += limits.RETENTION_OBJECTS_AT_ONCE) {
      const keys = expired.objectKeys.slice(from, from + limits.RETENTION_OBJECTS_AT_ONCE);
      for (const key of await index.giveUpObjects(keys)) await objects.delete(key);
    }
    return expired.sessions.length;
  }
}
