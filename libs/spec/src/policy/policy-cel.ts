/** Conditions of policy rules, `cel/1` over the facts of a session: same part of CEL as that of conditional edges. */
import { type CelInput, celEnv, isCelError, parse, plan } from "@bufbuild/cel";
import { err, ok, type Result } from "@rspp/base/result";
import { type Attributes, checkCondition } from "../cel-check.ts";
import { CONDITION_CHARS_MAX } from "../limits.ts";
import type { PolicyFacts, ProviderFact } from "./policy.ts";

const ATTRIBUTES: Attributes = {
  tenant: "text",
  pipeline: "text",
  language: "text",
  region: "text",
  cost_tier: "text",
  vars: "any",
  /** By name: `healthy` and `available`, true without a signal; `price` and `latency_ms` only where they are known. */
  providers: "any",
};

const PLANS_MAX = 1_024;

type Evaluate = (attributes: Record<string, CelInput>) => unknown;
const env = celEnv();
const plans = new Map<string, Result<Evaluate, string>>();

/** Null where the source is a condition; else what is wrong with it. */
export function ruleProblem(source: string): string | null {
  const made = compile(source);
  return made.ok ? null : made.error;
}

/** Whether the rule holds; the error says why it cannot be told, e.g. a price that is not known. */
export function evaluateRule(source: string, facts: PolicyFacts): Result<boolean, string> {
  const known = plans.get(source);
  const made = known ?? compile(source);
  if (known === undefined) {
    if (plans.size >= PLANS_MAX) plans.clear();
    plans.set(source, made);
  }
  if (!made.ok) return made;
  const answer = made.value({
    tenant: facts.tenant,
    pipeline: facts.pipeline,
    language: facts.language,
    region: facts.region,
    cost_tier: facts.costTier,
    vars: new Map(Object.entries(facts.vars).map(([name, value]) => [name, numberOf(value)] as const)),
    providers: new Map(Object.entries(facts.providers).map(([name, fact]) => [name, factOf(fact)] as const)),
  });
  if (typeof answer === "boolean") return ok(answer);
  return err(isCelError(answer) ? answer.message.slice(0, 160) : "the condition is not true or false");
}

function compile(source: string): Result<Evaluate, string> {
  if (source.length > CONDITION_CHARS_MAX) return err(`it is longer than ${CONDITION_CHARS_MAX} characters`);
  try {
    const { expr } = parse(source);
    if (expr === undefined) return err("it is empty");
    const problem = checkCondition(expr, undefined, ATTRIBUTES);
    return problem === null ? ok(plan(env, expr) as Evaluate) : err(problem);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return err(`it cannot be read: ${message.replace(/^<input>:/, "").slice(0, 160)}`);
  }
}

function factOf({ healthy = true, available = true, priceMicros, latencyMs }: ProviderFact): Map<string, CelInput> {
  const fact = new Map<string, CelInput>([
    ["healthy", healthy],
    ["available", available],
  ]);
  if (priceMicros !== undefined) fact.set("price", BigInt(priceMicros));
  if (latencyMs !== undefined) fact.set("latency_ms", BigInt(latencyMs));
  return fact;
}

/** A number without a fraction is a whole one, as it is in the source of a condition. */
function numberOf(value: string | number | boolean): CelInput {
  return Number.isSafeInteger(value) ? BigInt(value as number) : value;
}
