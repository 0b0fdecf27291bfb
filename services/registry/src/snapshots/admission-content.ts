/** What tenants may use, from their configurations over the platform's (F-050, F-098). */
import { create, toBinary } from "@bufbuild/protobuf";
import { OverRateAction, type TenantAdmission, TenantAdmissionSchema } from "@rspp/gen/rspp/registry/v1/admission_pb";
import { AdmissionSnapshotSchema } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import {
  overPlatform,
  publishedTenantConfig,
  sessionLimitsOf,
  type TenantConfig,
} from "@rspp/spec/tenant/tenant-config";
import type { ActiveDocument } from "@rspp/store/active-documents";

const PLATFORM = "*";
const TENANTS_MAX = 16_384;

interface Held {
  readonly version: number;
  readonly config: TenantConfig | null;
}

/** Equal states make equal bytes. @param runtimes that take sessions: each enforces its part of a rate. */
export function admissionContent(documents: readonly ActiveDocument[], runtimes: number): Uint8Array {
  const held = new Map(documents.map((document) => [document.tenantId, read(document)] as const));
  const tenants = [...held.keys()].sort().slice(0, TENANTS_MAX);
  const message = create(AdmissionSnapshotSchema, {
    tenants: tenants.map((tenant) => entryOf(tenant, held.get(tenant), held.get(PLATFORM), runtimes)),
  });
  return toBinary(AdmissionSnapshotSchema, message);
}

/** One that this build cannot read limits nobody; the registry has checked it as it was published. */
function read({ version, content }: ActiveDocument): Held {
  return { version, config: publishedTenantConfig(content) };
}

function entryOf(
  tenantId: string,
  own: Held | undefined,
  platform: Held | undefined,
  runtimes: number,
): TenantAdmission {
  const ownConfig = tenantId === PLATFORM ? null : (own?.config ?? null);
  const merged = overPlatform(ownConfig, platform?.config ?? null);
  const { concurrent, starts } = sessionLimitsOf(merged);
  const {
    per_minute = 0,
    per_session_per_minute = 0,
    burst = 0,
    on_exceeded,
    throttle_max_ms = 0,
  } = merged.turns ?? {};
  return create(TenantAdmissionSchema, {
    tenantId,
    configVersion: own?.version ?? 0,
    sessionsMax: concurrent?.max ?? 0,
    sessionStartsPerMinute: starts?.perMinute ?? 0,
    turnsPerMinute: Math.ceil(per_minute / Math.max(1, runtimes)),
    turnsBurst: burst,
    turnsOver: on_exceeded === undefined ? OverRateAction.THROTTLE : actions[on_exceeded],
    throttleMaxMs: throttle_max_ms,
    sessionTurnsPerMinute: per_session_per_minute,
  });
}

const actions = {
  reject: OverRateAction.REJECT,
  throttle: OverRateAction.THROTTLE,
  degrade: OverRateAction.DEGRADE,
} as const;
