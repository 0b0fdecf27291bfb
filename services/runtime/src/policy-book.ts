/**
 * Policies and signals of the snapshots in force, as sessions are opened and run by them (F-056, F-060, F-102): everything
 * from memory. Pure over what it is given; `control-snapshots.ts` gives it what the registry tells.
 */
import { createHash } from "node:crypto";
import { canonicalJson } from "@rspp/base/canonical-json";
import { CircuitState } from "@rspp/gen/rspp/provider/v1/provider_pb";
import type { PolicySnapshot, ProviderHealthSnapshot } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import type { PolicyResolution } from "@rspp/kernel/policy";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { type AppliedPolicy, applyPolicy, resolvePolicy } from "@rspp/spec/policy/apply-policy";
import { evaluatePolicy, NO_POLICY } from "@rspp/spec/policy/evaluate";
import { parsePolicy } from "@rspp/spec/policy/parse-policy";
import type { PolicyDocument, PolicyFacts, PolicyResult, ProviderFact } from "@rspp/spec/policy/policy";

/** The platform's own documents, which every tenant inherits. */
const PLATFORM = "*";
/** Of several policies of a tenant this one counts; else the first by name. */
const DEFAULT_NAME = "default";
/** Results kept; what is beyond them is evaluated again. */
const RESULTS_MAX = 4_096;

interface HeldPolicy {
  /** `tenant/name@version`. */
  readonly name: string;
  readonly document: PolicyDocument;
}

/** What a session is known by. */
export interface PolicySubject {
  readonly tenant: string;
  readonly pipeline: string;
  readonly vars: Readonly<Record<string, string | number | boolean>>;
}

export interface PolicyDecision {
  /** `acme/default@3`; "" none. */
  readonly policy: string;
  readonly result: PolicyResult;
}

export class PolicyBook {
  readonly #region: string;
  #policies = new Map<string, HeldPolicy>();
  #providers: Readonly<Record<string, ProviderFact>> = {};
  #healthKnown = false;
  readonly #results = new Map<string, PolicyResult>();

  constructor(region: string) {
    this.#region = region;
  }

  /** Null and in force, or why this build cannot use it; nothing is changed then. */
  takePolicies({ policies }: PolicySnapshot): string | null {
    const held = new Map<string, HeldPolicy>();
    for (const { tenantId, name, version, content } of policies) {
      const where = `${tenantId}/${name}@${version}`;
      const read = parsePolicy(new TextDecoder().decode(content), where);
      if (!read.ok) return `${where}: ${read.error[0]?.path ?? ""}: ${read.error[0]?.message ?? "cannot be read"}`;
      const known = held.get(tenantId);
      const better = known === undefined || name === DEFAULT_NAME;
      if (better) held.set(tenantId, { name: where, document: read.value });
    }
    this.#policies = held;
    this.#results.clear();
    return null;
  }

  takeHealth({ providers }: ProviderHealthSnapshot): null {
    const facts: Record<string, ProviderFact> = {};
    for (const { health, available } of providers) {
      if (health === undefined) continue;
      facts[health.provider] = {
        healthy: health.circuit !== CircuitState.OPEN,
        available,
        ...(health.priceMicros === undefined ? {} : { priceMicros: Number(health.priceMicros) }),
        ...(health.p95FirstOutputMs === 0 ? {} : { latencyMs: health.p95FirstOutputMs }),
      };
    }
    this.#providers = facts;
    this.#results.clear();
    return null;
  }

  /** Past their bound signals count as missing, and each rule has its default (F-066). */
  healthKnown(known: boolean): void {
    if (known === this.#healthKnown) return;
    this.#healthKnown = known;
    this.#results.clear();
  }

  decide(subject: PolicySubject): PolicyDecision {
    const held = this.#policies.get(subject.tenant) ?? this.#policies.get(PLATFORM);
    if (held === undefined) return { policy: "", result: NO_POLICY };
    // Facts may be personal: what is kept is found by their hash.
    const key = createHash("sha256")
      .update(`${held.name}\n${canonicalJson(subject)}`)
      .digest("base64url");
    const known = this.#results.get(key);
    if (known !== undefined) return { policy: held.name, result: known };
    const result = evaluatePolicy(held.document, this.#facts(subject));
    if (this.#results.size >= RESULTS_MAX) this.#results.clear();
    this.#results.set(key, result);
    return { policy: held.name, result };
  }

  /** What stands for the whole session. */
  apply(pipeline: CompiledPipeline, { policy, result }: PolicyDecision): AppliedPolicy {
    return applyPolicy(pipeline, result, `policy/${policy}`);
  }

  /** What its turns are bound by now. */
  resolve(
    pipeline: Pick<CompiledPipeline, "graph">,
    subject: PolicySubject,
    available: readonly string[],
  ): PolicyResolution | null {
    const { policy, result } = this.decide(subject);
    return resolvePolicy(pipeline, result, this.#facts(subject), { policy, available });
  }

  #facts({ tenant, pipeline, vars }: PolicySubject): PolicyFacts {
    const text = (name: string): string => (typeof vars[name] === "string" ? String(vars[name]) : "");
    return {
      tenant,
      pipeline,
      language: text("language"),
      region: this.#region,
      costTier: text("cost_tier"),
      vars,
      providers: this.#healthKnown ? this.#providers : {},
    };
  }
}
