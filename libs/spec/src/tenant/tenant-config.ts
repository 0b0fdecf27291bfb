/** A tenant's configuration: its document, and what holds once it lies over the platform's (F-050, F-098). */
import { ok, type Result } from "@rspp/base/result";
import { placeOf } from "../places.ts";
import type { SpecProblem } from "../problem.ts";
import { readDocument } from "../published/read-document.ts";
import { TENANT_SCHEMA, tenantSchema, type WEBHOOK_EVENTS } from "./tenant-schema.ts";

export type OverLimit = "reject" | "throttle" | "degrade";

/** Field by field as written. */
export interface TenantConfig {
  readonly sessions?: {
    readonly concurrent_max?: number;
    readonly concurrent_hard_max?: number;
    readonly on_concurrent?: OverLimit;
    readonly starts_per_minute?: number;
    readonly start_burst?: number;
    readonly on_starts?: OverLimit;
  };
  readonly turns?: {
    readonly per_minute?: number;
    readonly per_session_per_minute?: number;
    readonly burst?: number;
    readonly on_exceeded?: OverLimit;
    readonly throttle_max_ms?: number;
  };
  readonly placement?: { readonly regions?: readonly string[] };
  readonly retention?: { readonly recordings_days?: number; readonly sessions_days?: number };
  readonly webhooks?: readonly TenantWebhook[];
  readonly timeline_access?: TimelineAccess;
}

/** an endpoint that is told when a session has ended. */
export interface TenantWebhook {
  readonly url: string;
  /** Reference, never the secret. */
  readonly secret: string;
  readonly events: readonly (typeof WEBHOOK_EVENTS)[number][];
}

export type ReadableLevel = "L0" | "L1" | "L2";

/** Who may read what of a tenant's timelines. */
export interface TimelineAccess {
  readonly purpose_required?: boolean;
  readonly purposes?: readonly string[];
  readonly viewer?: ReadableLevel;
  readonly operator?: ReadableLevel;
  readonly admin?: ReadableLevel;
}

/** Never throws. */
export function parseTenantConfig(text: string, fileName: string): Result<TenantConfig, SpecProblem[]> {
  const read = readDocument<TenantConfig>(text, fileName, tenantSchema, ({ sessions = {} }, problems, places) => {
    const refuse = (path: string, message: string, remedy: string) =>
      problems.add(placeOf(places, path), { path, code: "not_allowed", message, remedy });
    const { concurrent_max: max, concurrent_hard_max: hard, on_concurrent, start_burst, starts_per_minute } = sessions;
    if (max !== undefined && hard !== undefined && hard < max) {
      refuse("sessions.concurrent_hard_max", `${hard} is below concurrent_max, ${max}`, "raise it, or leave it out");
    }
    if (hard !== undefined && on_concurrent !== undefined && on_concurrent !== "degrade") {
      const message = "a hard limit is for sessions that are admitted degraded";
      refuse("sessions.concurrent_hard_max", message, "write on_concurrent: degrade, or leave it out");
    }
    if (start_burst !== undefined && starts_per_minute !== undefined && start_burst > starts_per_minute) {
      const message = `${start_burst} starts at once are more than ${starts_per_minute} a minute`;
      refuse("sessions.start_burst", message, "lower it");
    }
  });
  return read.ok ? ok(read.value.value) : read;
}

/** From the bytes the registry keeps of a published one; null when this build cannot read them. Never throws. */
export function publishedTenantConfig(content: Uint8Array): TenantConfig | null {
  try {
    const kept: unknown = JSON.parse(new TextDecoder().decode(content));
    const config = typeof kept === "object" && kept !== null && "config" in kept ? kept.config : null;
    if (typeof config !== "object" || config === null) return null;
    const read = parseTenantConfig(JSON.stringify({ schema: TENANT_SCHEMA, ...config }), "tenant_config");
    return read.ok ? read.value : null;
  } catch {
    return null;
  }
}

/** What the registry enforces for a session; `null`: no limit. */
export interface SessionLimits {
  readonly concurrent: { readonly max: number; readonly hardMax: number; readonly over: OverLimit } | null;
  readonly starts: { readonly perMinute: number; readonly burst: number; readonly over: OverLimit } | null;
  /** Empty: anywhere. */
  readonly regions: readonly string[];
}

/** The tenant's own fields over the platform's (`*`). */
export function overPlatform(own: TenantConfig | null, platform: TenantConfig | null): TenantConfig {
  const webhooks = own?.webhooks ?? platform?.webhooks;
  const merged = {
    sessions: { ...platform?.sessions, ...own?.sessions },
    turns: { ...platform?.turns, ...own?.turns },
    placement: { ...platform?.placement, ...own?.placement },
    retention: { ...platform?.retention, ...own?.retention },
    timeline_access: { ...platform?.timeline_access, ...own?.timeline_access },
    // As a whole: an endpoint of one is none of the other's.
    ...(webhooks === undefined ? {} : { webhooks }),
  };
  return merged;
}

/** Defaults: past the number of sessions a start is refused, past the rate it is put off; a tenth of a minute at once. */
export function sessionLimitsOf({ sessions = {}, placement = {} }: TenantConfig): SessionLimits {
  const { concurrent_max: max, concurrent_hard_max: hard, on_concurrent = "reject" } = sessions;
  const { starts_per_minute: perMinute, start_burst: burst, on_starts = "throttle" } = sessions;
  return {
    concurrent:
      max === undefined
        ? null
        : { max, hardMax: on_concurrent === "degrade" ? Math.max(hard ?? max * 2, max) : max, over: on_concurrent },
    starts:
      perMinute === undefined
        ? null
        : { perMinute, burst: burst ?? Math.max(1, Math.floor(perMinute / 10)), over: on_starts },
    regions: placement.regions ?? [],
  };
}
