/**
 * The control plane's snapshots at a runtime (kernel.md §3, §7): sessions are opened under them, turns are bound by them, and
 * neither asks anybody. A session that lives goes on with the last good ones, marked stale; a new one is not opened without.
 */
import { canonicalJson } from "@rspp/base/canonical-json";
import { err, ok, type Result } from "@rspp/base/result";
import type { PolicyResolution } from "@rspp/kernel/policy";
import type { SnapshotRefs } from "@rspp/kernel/session-config";
import type { TurnRate } from "@rspp/kernel/turn-rate";
import type { OpenRefusal } from "@rspp/ports/session-opener";
import type { SnapshotFreshness, SnapshotKind } from "@rspp/protocol/snapshot-watch-types";
import type { SnapshotWatch } from "@rspp/remote/snapshot-watch";
import type { AuditSink } from "@rspp/rpc/call-audit";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import type { Logger } from "./logger.ts";
import type { PolicyBook, PolicySubject } from "./policy-book.ts";
import type { RuntimeSession, SystemInput } from "./runtime.ts";
import { turnRateOf } from "./turn-rates.ts";

/** Without one of these no session is begun; without signals of health there are defaults. */
const NEEDED: readonly SnapshotKind[] = ["policy", "rollout", "admission"];
/** A runtime that has just started waits so long for its first snapshots before it refuses. */
const FIRST_MS = 3_000;
const STALE = "!stale";
/** In one entry of the audit log. */
const AUDITED_CHANGES_MAX = 64;

export interface OpenedUnder {
  readonly pipeline: CompiledPipeline;
  readonly refs: Partial<SnapshotRefs>;
}

/** What a runtime opens sessions under; without a registry there is none, and pipelines stand as they are. */
export interface SessionPolicies {
  open(pipeline: CompiledPipeline, subject: PolicySubject): Promise<Result<OpenedUnder, OpenRefusal>>;
  /** Tells the session how its turns are bound, and whatever changes of it, until it ends. */
  keep(session: RuntimeSession, pipeline: CompiledPipeline, subject: PolicySubject): void;
}

export interface ControlSnapshotsOptions {
  readonly watch: Pick<SnapshotWatch, "freshness" | "first" | "unsupported" | "current">;
  readonly book: PolicyBook;
  /** Names the gateway can open now. */
  readonly available: () => readonly string[];
  readonly logger: Pick<Logger, "info" | "warn">;
  /** The platform's audit log; never waited for. Default: the log of this process alone. */
  readonly audit?: Pick<AuditSink, "record">;
  /** Who says so. Default `runtime`. */
  readonly instanceId?: string;
}

type SnapshotInput = Extract<SystemInput, { type: "snapshot" }> & {
  resolution: PolicyResolution | null;
  rate: TurnRate | null;
};

interface Kept {
  readonly session: RuntimeSession;
  readonly pipeline: CompiledPipeline;
  readonly subject: PolicySubject;
  told: string;
}

export class ControlSnapshots implements SessionPolicies {
  readonly #options: ControlSnapshotsOptions;
  readonly #kept = new Set<Kept>();
  /** Versions and states that sessions were told last. */
  #signature = "";
  /** Sessions here, by tenant. */
  readonly #tenants = new Map<string, number>();

  constructor(options: ControlSnapshotsOptions) {
    this.#options = options;
  }

  async open(pipeline: CompiledPipeline, subject: PolicySubject): Promise<Result<OpenedUnder, OpenRefusal>> {
    const { watch, book, logger } = this.#options;
    if (this.#lacking() !== null) await watch.first(FIRST_MS);
    const lacking = this.#lacking();
    if (lacking !== null) return err(refusalOf(lacking));
    this.#look();
    const decision = book.decide(subject);
    const { pipeline: effective, changes } = book.apply(pipeline, decision);
    if (changes.length > 0) {
      const { policy } = decision;
      logger.info({ audit: { action: "policy_applied", tenant_id: subject.tenant, policy, changes } }, "audit");
      const { audit, instanceId: actor = "runtime" } = this.#options;
      const detail = { pipeline: subject.pipeline, changes: changes.slice(0, AUDITED_CHANGES_MAX) };
      const entry = { tenantId: subject.tenant, actor, action: "policy_applied", subject: policy, detail };
      void audit?.record(entry).catch(() => undefined);
    }
    return ok({ pipeline: effective, refs: this.#refs() });
  }

  keep(session: RuntimeSession, pipeline: CompiledPipeline, subject: PolicySubject): void {
    this.#count(subject.tenant, 1);
    this.#auditSample(session, subject);
    const input = this.#inputOf({ pipeline, subject });
    const kept: Kept = { session, pipeline, subject, told: canonicalJson(input) };
    this.#kept.add(kept);
    void session.ended.then(() => {
      this.#kept.delete(kept);
      this.#count(subject.tenant, -1);
    });
    // Before anything of the caller comes in: its first turn is bound by it.
    if (input.resolution !== null || input.rate !== null) session.update(input);
  }

  /** Something was heard, or time has passed: sessions are told what is different for them. */
  changed(): void {
    const signature = canonicalJson({ refs: this.#refs(), available: this.#options.available() });
    if (signature === this.#signature) return;
    this.#signature = signature;
    this.#look();
    for (const kept of this.#kept) {
      const input = this.#inputOf(kept);
      const now = canonicalJson(input);
      if (now === kept.told) continue;
      kept.told = now;
      kept.session.update(input);
    }
  }

  /** F-071: that a session was drawn to be recorded above L0; that one was not, its own evidence tells. */
  #auditSample({ config }: Pick<RuntimeSession, "config">, { tenant: tenantId, pipeline }: PolicySubject): void {
    const { sample, policyId, ceiling: level } = config.recording;
    if (sample?.kept !== true) return;
    const { audit, instanceId: actor = "runtime" } = this.#options;
    const detail = { pipeline, policy_id: policyId, level, percent: sample.percent, bucket: sample.bucket };
    const entry = { tenantId, actor, action: "recording_sampled", subject: config.sessionId, detail };
    void audit?.record(entry).catch(() => undefined);
  }

  #count(tenant: string, by: number): void {
    const count = (this.#tenants.get(tenant) ?? 0) + by;
    if (count === 0) this.#tenants.delete(tenant);
    else this.#tenants.set(tenant, count);
    // Where a rate is shared, the others' part is another now; they are told at the next look.
    if (this.#options.watch.current("admission")?.content.tenants.length) this.#signature = "";
  }

  #look(): void {
    const { watch, book } = this.#options;
    const { state } = watch.freshness("provider_health");
    book.healthKnown(state === "fresh" || state === "stale");
  }

  #lacking(): (SnapshotFreshness & { kind: SnapshotKind }) | null {
    const { watch } = this.#options;
    // A registry of before snapshots: pipelines stand as they are.
    if (watch.unsupported) return null;
    for (const kind of NEEDED) {
      const freshness = watch.freshness(kind);
      if (freshness.state === "missing" || freshness.state === "too_stale") return { kind, ...freshness };
    }
    return null;
  }

  #inputOf({ pipeline, subject }: Pick<Kept, "pipeline" | "subject">): SnapshotInput {
    const { book, available } = this.#options;
    const resolution = book.resolve(pipeline, subject, available());
    const refs = { ...ownRefs(pipeline), ...this.#refs() };
    return { type: "snapshot", refs, usable: true, reason: "", resolution, rate: this.#rateOf(subject) };
  }

  #rateOf({ tenant }: PolicySubject): TurnRate | null {
    const sessions = this.#tenants.get(tenant) ?? 1;
    return turnRateOf(this.#options.watch.current("admission")?.content, tenant, sessions);
  }

  #refs(): Omit<SnapshotRefs, "pipeline" | "profile"> {
    return {
      policy: this.#ref("policy"),
      routing: this.#ref("routing"),
      rollout: this.#ref("rollout"),
      admission: this.#ref("admission"),
      providerHealth: this.#ref("provider_health"),
    };
  }

  /** `policy@7`, `policy@7!stale`, or `none`. */
  #ref(kind: SnapshotKind): string {
    const { state, version } = this.#options.watch.freshness(kind);
    if (state === "missing") return "none";
    return `${kind}@${version}${state === "fresh" ? "" : STALE}`;
  }
}

function ownRefs({
  name,
  version,
  fingerprint,
  profile,
}: CompiledPipeline): Pick<SnapshotRefs, "pipeline" | "profile"> {
  return { pipeline: `${name}@${version}#${fingerprint.slice(0, 12)}`, profile };
}

/** T2: what is missing may come; what is too old waits for the registry. */
function refusalOf({ kind, state, ageMs }: SnapshotFreshness & { kind: SnapshotKind }): OpenRefusal {
  const what =
    state === "missing"
      ? `this runtime has no ${kind} snapshot yet`
      : `its ${kind} snapshot is ${Math.round(ageMs / 1_000)} s old, too old for new sessions`;
  return {
    reason: "dependency_unavailable",
    remedy: `${what}: see to the registry, and try again in some seconds; calls that run go on`,
  };
}
