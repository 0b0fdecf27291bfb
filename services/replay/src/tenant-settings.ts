/** Tenants' configurations as they are in force, read again every few seconds. */
import { overPlatform, publishedTenantConfig, type TenantConfig } from "@rspp/spec/tenant/tenant-config";
import { ACTIVE_DOCUMENTS_MAX, type ActiveDocuments } from "@rspp/store/active-documents";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";
import { limits } from "./limits.ts";

export interface TenantSettings {
  /** With the platform's under it. */
  readonly config: TenantConfig;
  /** Whose document names the webhooks. */
  readonly webhooksOf: string;
  /** There is, or may be, a document that was not read: what it would forbid is not known. */
  readonly unreadable: boolean;
}

export class TenantDirectory {
  readonly #documents: Pick<ActiveDocuments, "list">;
  readonly #wallMs: () => number;
  #read: ReadonlyMap<string, TenantConfig | null> = new Map();
  #readWallMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | null = null;

  constructor(documents: Pick<ActiveDocuments, "list">, wallMs: () => number) {
    this.#documents = documents;
    this.#wallMs = wallMs;
  }

  /** Rejects with a StoreError. */
  async settings(tenantId: string): Promise<TenantSettings> {
    if (Math.abs(this.#wallMs() - this.#readWallMs) >= limits.TENANTS_FRESH_MS) {
      this.#reading ??= this.#load().finally(() => {
        this.#reading = null;
      });
      await this.#reading;
    }
    const own = this.#read.get(tenantId);
    const platform = this.#read.get(PLATFORM_TENANT);
    return {
      config: overPlatform(own ?? null, platform ?? null),
      webhooksOf: own?.webhooks === undefined ? PLATFORM_TENANT : tenantId,
      // Cut off, the list may lack a tenant's own document, and what that would forbid.
      unreadable: own === null || platform === null || (own === undefined && this.#read.size >= ACTIVE_DOCUMENTS_MAX),
    };
  }

  async #load(): Promise<void> {
    const at = this.#wallMs();
    const active = await this.#documents.list("tenant_config");
    this.#read = new Map(active.map(({ tenantId, content }) => [tenantId, publishedTenantConfig(content)]));
    this.#readWallMs = at;
  }
}
