/** The admission snapshot: rates and quotas of every tenant that has a configuration, and of all others (F-050). */
import { create, toBinary } from "@bufbuild/protobuf";
import { OverRateAction, TenantAdmissionSchema } from "@rspp/gen/rspp/registry/v1/admission_pb";
import { AdmissionSnapshotSchema } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import { type OverLimit, overPlatform, type TenantConfig } from "@rspp/spec/tenant/tenant-config";
import type { ActiveDocument, ActiveDocuments } from "@rspp/store/active-documents";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";

const actions: Readonly<Record<OverLimit, OverRateAction>> = {
  reject: OverRateAction.REJECT,
  throttle: OverRateAction.THROTTLE,
  degrade: OverRateAction.DEGRADE,
};

/** Tenants without an entry are under that of `*`, which is always there. */
export async function admissionContent(documents: Pick<ActiveDocuments, "list">): Promise<Uint8Array> {
  const configs = await documents.list("tenant_config");
  const platform = configs.find(({ tenantId }) => tenantId === PLATFORM_TENANT);
  const tenants = configs.filter((one) => one !== platform).map((own) => admissionOf(own.tenantId, own, platform));
  const all = [admissionOf(PLATFORM_TENANT, undefined, platform), ...tenants];
  return toBinary(AdmissionSnapshotSchema, create(AdmissionSnapshotSchema, { tenants: all }));
}

function admissionOf(tenantId: string, own: ActiveDocument | undefined, platform: ActiveDocument | undefined) {
  const { sessions = {}, turns = {} } = overPlatform(configOf(own), configOf(platform));
  return create(TenantAdmissionSchema, {
    tenantId,
    configVersion: (own ?? platform)?.version ?? 0,
    sessionsMax: sessions.concurrent_max ?? 0,
    sessionStartsPerMinute: sessions.starts_per_minute ?? 0,
    turnsPerMinute: turns.per_minute ?? 0,
    turnsBurst: turns.burst ?? 0,
    turnsOver: actions[turns.on_exceeded ?? "throttle"],
    throttleMaxMs: turns.throttle_max_ms ?? 0,
    sessionTurnsPerMinute: turns.per_session_per_minute ?? 0,
  });
}

function configOf(document: ActiveDocument | undefined): TenantConfig | null {
  if (document === undefined) return null;
  return (JSON.parse(new TextDecoder().decode(document.content)) as { config: TenantConfig }).config;
}
