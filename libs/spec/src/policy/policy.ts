/** A policy as read, and what it comes to for one session's turn. Plain data. */
import type { ProviderCandidate, Settings } from "@rspp/kernel/graph";
import type { PolicyCaps } from "@rspp/kernel/policy";
import type { PolicyKind } from "./policy-schema.ts";

export type CandidateDocument = string | { readonly name: string; readonly settings?: Settings };

export interface CapsDocument {
  readonly tokens?: number;
  readonly audio_seconds?: number;
  readonly tts_characters?: number;
  readonly cost_micros?: number;
  /** Default truncate. */
  readonly on_exceeded?: "truncate" | "refuse";
}

export interface ComplianceDocument {
  readonly id: string;
  readonly settings: Settings;
}

export interface PolicyRule {
  readonly id: string;
  /** Absent: holds always. */
  readonly when?: string;
  readonly candidates?: Readonly<Partial<Record<PolicyKind, readonly CandidateDocument[]>>>;
  /** Default listed. */
  readonly order?: "listed" | "price" | "latency";
  readonly caps?: CapsDocument;
  /** Id of a posture of the pipeline that turns open with. */
  readonly degrade?: string;
  readonly compliance?: readonly ComplianceDocument[];
  readonly turn_detection?: { readonly vad?: Settings; readonly endpointing?: Settings };
}

export interface PolicyDocument {
  readonly schema: string;
  readonly name: string;
  readonly version: string;
  readonly description?: string;
  /** In order: of each part the first rule that holds and gives it decides; compliance nodes of all of them are inserted. */
  readonly rules: readonly PolicyRule[];
}

/** What is known of one provider when a policy is looked at. */
export interface ProviderFact {
  /** Undefined: no signal, taken as well. */
  readonly healthy?: boolean;
  /** Undefined: no signal. False: no gateway can open it. */
  readonly available?: boolean;
  /** Millionths of money for its unit; undefined: no signal. */
  readonly priceMicros?: number;
  /** Milliseconds; undefined: no signal. */
  readonly latencyMs?: number;
}

/** What rules may look at. */
export interface PolicyFacts {
  readonly tenant: string;
  readonly pipeline: string;
  readonly language: string;
  readonly region: string;
  readonly costTier: string;
  readonly vars: Readonly<Record<string, string | number | boolean>>;
  readonly providers: Readonly<Record<string, ProviderFact>>;
}

/** Why a rule did or did not count. */
export interface RuleTrace {
  readonly rule: string;
  readonly held: boolean;
  /** Of a condition that could not be told. */
  readonly problem?: string;
  /** Parts it decided. */
  readonly decides: readonly string[];
}

export interface PolicyResult {
  /** Providers in order by kind of node; a kind no rule speaks of is left to the pipeline. */
  readonly candidates: Readonly<Partial<Record<PolicyKind, readonly ProviderCandidate[]>>>;
  readonly caps: PolicyCaps | null;
  /** "" for none. */
  readonly degrade: string;
  readonly compliance: readonly ComplianceDocument[];
  readonly vad: Settings | null;
  readonly endpointing: Settings | null;
  readonly trace: readonly RuleTrace[];
  /** Short sentences: why this order, which signal was missing and what stood in for it. */
  readonly reasons: readonly string[];
}
