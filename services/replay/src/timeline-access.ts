/**
 * Who may read what of a tenant's timelines: tenant and role stand in the caller's token and are checked before; here the
 * purpose, and how much the tenant lets the role see (`timeline_access` of its configuration). Each access and each refusal is
 * written into the audit log before anything is told.
 */

import { Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { roleName } from "@rspp/rpc/access";
import type { AuditSink } from "@rspp/rpc/call-audit";
import type { Caller } from "@rspp/rpc/caller";
import { rpcError } from "@rspp/rpc/errors";
import type { TimelineAccess as AccessConfig } from "@rspp/spec/tenant/tenant-config";
import { levelNames } from "@rspp/wire/names";
import { domain } from "./append-stream.ts";
import type { TenantDirectory } from "./tenant-settings.ts";

export interface TimelineAccessPorts {
  readonly tenants: TenantDirectory;
  readonly sink: AuditSink;
}

export interface AccessAsk {
  /** e.g. `timeline.read`. */
  readonly action: string;
  readonly caller: Caller;
  readonly tenantId: string;
  /** Session id; empty for lists. */
  readonly sessionId: string;
  readonly purpose: string;
  /** Level asked for; 0 all that is recorded. Not given where no content is told. */
  readonly fidelity?: RecordingLevel;
}

interface Refusal {
  readonly missing: "configuration" | "purpose" | "role" | "fidelity";
  readonly remedy: string;
}

/** Lets an access pass, or not. */
export class TimelineAccess {
  readonly #ports: TimelineAccessPorts;

  constructor(ports: TimelineAccessPorts) {
    this.#ports = ports;
  }

  /**
   * @param recorded highest level of what would be read.
   * @throws RpcError `permission_denied`, whose metadata name what is missing. Rejects with a StoreError.
   */
  async check(ask: AccessAsk, recorded: RecordingLevel = RecordingLevel.UNSPECIFIED): Promise<void> {
    const { action, caller, tenantId, sessionId, purpose, fidelity } = ask;
    const { config, unreadable } = await this.#ports.tenants.settings(tenantId);
    const refusal = unreadable ? unknownRules : refusalOf(ask, config.timeline_access ?? {}, recorded);
    const level = fidelity === undefined ? {} : { fidelity: levelNames.name(fidelity) || "all" };
    await this.#ports.sink.record({
      tenantId,
      actor: caller.name,
      action: refusal === null ? action : `denied ${action}`,
      subject: sessionId === "" ? "" : `session_id=${sessionId}`,
      detail: {
        role: roleName(caller.role),
        purpose,
        ...level,
        ...(refusal === null ? {} : { missing: refusal.missing }),
      },
    });
    if (refusal === null) return;
    const { missing, remedy } = refusal;
    throw rpcError(ErrorReason.PERMISSION_DENIED, { domain, metadata: { missing, tenant: tenantId }, remedy });
  }
}

const unknownRules: Refusal = {
  missing: "configuration",
  remedy: "Publish a configuration of the tenant that this build can read: what the present one forbids is not known.",
};

function refusalOf({ caller, purpose, fidelity }: AccessAsk, config: AccessConfig, recorded: number): Refusal | null {
  const { purposes = [], purpose_required: required = false } = config;
  const among = purposes.length === 0 ? "" : `, one of ${purposes.join(", ")}`;
  if (purpose === "" && required) return { missing: "purpose", remedy: `Say what for: purpose${among}.` };
  if (purpose !== "" && purposes.length > 0 && !purposes.includes(purpose)) {
    return { missing: "purpose", remedy: `Give a purpose that the tenant allows${among}.` };
  }
  if (fidelity === undefined) return null;
  const word = wordOf(caller.role, config);
  const bound = word === undefined ? RecordingLevel.L2 : (levelNames.number(word) ?? RecordingLevel.L0);
  if (fidelity > bound) {
    return { missing: "role", remedy: `Ask for fidelity ${word ?? ""} or below, or with a role that sees more.` };
  }
  if (fidelity === RecordingLevel.UNSPECIFIED && recorded > bound) {
    return {
      missing: "fidelity",
      remedy: `Name a fidelity up to ${word ?? ""}: more is recorded than the role may see.`,
    };
  }
  return null;
}

/** Services of the platform tell what they read to nobody by themselves. */
function wordOf(role: Role, { viewer, operator, admin }: AccessConfig): "L0" | "L1" | "L2" | undefined {
  if (role === Role.SERVICE) return undefined;
  return role === Role.ADMIN ? admin : role === Role.OPERATOR ? operator : viewer;
}

const evidenceAlone: ReadonlySet<string> = new Set([
  "header",
  "evidence",
  "addendum",
  "turnPlan",
  "sessionPlan",
  "levelChange",
  "predecessorLost",
  "marker",
  "refusal",
  "erased",
]);
const evidenceKinds: ReadonlySet<string> = new Set(["plan", "session_plan", "evidence", "signal"]);
const journalKinds: ReadonlySet<string> = new Set(["batch", "snapshot", "journal", "state_snapshot"]);

/** The level that shows a record: of the journal that under which it was written, of what is not known the highest. */
export function levelOf(record: TimelineRecord): RecordingLevel {
  const { body } = record;
  const kind = body.case === "canonicalRecord" || body.case === "effect" ? body.value.kind : "";
  if (evidenceAlone.has(body.case ?? "") || evidenceKinds.has(kind)) return RecordingLevel.L0;
  if (!journalKinds.has(kind === "" ? (body.case ?? "") : kind)) return RecordingLevel.L2;
  return Math.max(RecordingLevel.L1, record.level);
}
