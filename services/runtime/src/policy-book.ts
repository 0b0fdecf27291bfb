/**
 * Policies and signals of the snapshots in force, as sessions are opened and run by them (F-056, F-060, F-102): everything
 * from memory. Pure over what it is given; `control-snapshots.ts` gives it what the registry tells.
 */
import { createHash } from "node:crypto";
import { canonicalJson } from "@rspp/base/canonical-json";
import { CircuitState } from "@rspp/gen/rspp/provider/v1/provider_pb";
import type { ActiveDocument, PolicySnapshot, ProviderHealthSnapshot } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import type { PolicyResolution } from "@rspp/kernel/policy";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { type AppliedPolicy, applyPolicy, resolvePolicy } from "@rspp/spec/policy/apply-policy";
import { evaluatePolicy, NO_POLICY } from "@rspp/spec/policy/evaluate";
import { parsePolicy } from "@rspp/spec/policy/parse-policy";
import type { PolicyDocument, PolicyFacts, PolicyResult, ProviderFact } from "@rspp/spec/policy/policy";
import {
  mergeProviderConfigs,
  type ProviderConfig,
  type ProviderSettings,
  readProviderConfig,
} from "@rspp/spec/published/provider-config";

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
  /** What is configured of providers, by tenant; the platform's are in each. */
  #configured = new Map<string, Readonly<Record<string, ProviderSettings>>>();
  #healthKnown = false;
  readonly #results = new Map<string, PolicyResult>();

  constructor(region: string) {
    this.#region = region;
  }

  /** Null and in force, or why this build cannot use it; nothing is changed then. */
  takePolicies({ policies, providerConfigs }: PolicySnapshot): string | null {
    const configured = configuredOf(providerConfigs);
    if (typeof configured === "string") return configured;
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
    this.#configured = configured;
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
    const configured = this.#configuredFor(subject.tenant);
    const enabled = available.filter((name) => configured[name]?.enabled !== false);
    return resolvePolicy(pipeline, result, this.#facts(subject), { policy, available: enabled });
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
      providers: this.#providerFacts(tenant),
    };
  }

  /** Signals where they are fresh, over what is configured: that is no signal and does not grow old (F-102). */
  #providerFacts(tenant: string): Readonly<Record<string, ProviderFact>> {
    const signals = this.#healthKnown ? this.#providers : {};
    const facts: Record<string, ProviderFact> = { ...signals };
    for (const [name, { enabled, price }] of Object.entries(this.#configuredFor(tenant))) {
      const off = enabled === false ? { available: false, healthy: false } : {};
      const priced = price === undefined ? {} : { priceMicros: Math.round(price * 1_000_000) };
      facts[name] = { ...priced, ...facts[name], ...off };
    }
    return facts;
  }

  #configuredFor(tenant: string): Readonly<Record<string, ProviderSettings>> {
    return this.#configured.get(tenant) ?? this.#configured.get(PLATFORM) ?? {};
  }
}

/** By tenant, each over the platform's; or what cannot be read. */
function configuredOf(documents: readonly ActiveDocument[]): Map<string, Record<string, ProviderSettings>> | string {
  const own = new Map<string, Pick<ProviderConfig, "providers">[]>([[PLATFORM, []]]);
  for (const { tenantId, name, version, content } of documents) {
    const read = readProviderConfig(content);
    if (read === null) return `${tenantId}/${name}@${version}: this build cannot read it`;
    own.set(tenantId, [...(own.get(tenantId) ?? []), read]);
  }
  const platform = own.get(PLATFORM) ?? [];
  const of = ([tenantId, configs]: [string, Pick<ProviderConfig, "providers">[]]) =>
    [tenantId, mergeProviderConfigs(tenantId === PLATFORM ? configs : [...platform, ...configs])] as const;
  return new Map([...own].map(of));
}
