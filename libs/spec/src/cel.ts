/**
 * The evaluator of conditions, `cel/1` (F-018): @bufbuild/cel over the attributes of `PredicateAttributes`, restricted by
 * `cel-check.ts`. Same source and attributes, same answer; nothing is thrown, and a condition that cannot be answered (a
 * variable that was not given, a division by zero) is an error value.
 */
import { type CelInput, celEnv, isCelError, parse, plan } from "@bufbuild/cel";
import { err, ok, type Result } from "@rspp/base/result";
import { type FactAnswer, PREDICATE_FAILED, type PredicateQuestion } from "@rspp/kernel/pure-functions";
import { checkCondition, type ValueType } from "./cel-check.ts";
import { CONDITION_CHARS_MAX } from "./limits.ts";

/** Plans kept by source; what is compiled beyond them is compiled again when it comes back. */
const PLANS_MAX = 1_024;

type Evaluate = (attributes: Record<string, CelInput>) => unknown;

const env = celEnv();
const plans = new Map<string, Evaluate | string>();

/** Null where the source is a condition; else what is wrong with it. `declared`: types of the session variables. */
export function conditionProblem(source: string, declared?: Readonly<Record<string, ValueType>>): string | null {
  const parsed = parseCondition(source);
  return parsed.ok ? checkCondition(parsed.value, declared) : parsed.error;
}

type Expr = NonNullable<ReturnType<typeof parse>["expr"]>;

function parseCondition(source: string): Result<Expr, string> {
  if (source.length > CONDITION_CHARS_MAX) return err(`it is longer than ${CONDITION_CHARS_MAX} characters`);
  try {
    const { expr } = parse(source);
    return expr === undefined ? err("it is empty") : ok(expr);
  } catch (error) {
    // A parser may run out of stack on brackets nested without end; that is a condition nobody can read, either.
    const message = error instanceof Error ? error.message : String(error);
    return err(`it cannot be read: ${message.replace(/^<input>:/, "").slice(0, 160)}`);
  }
}

function planOf(source: string): Evaluate | string {
  const known = plans.get(source);
  if (known !== undefined) return known;
  const parsed = parseCondition(source);
  const problem = parsed.ok ? checkCondition(parsed.value) : parsed.error;
  const made = problem ?? (parsed.ok ? (plan(env, parsed.value) as Evaluate) : "");
  if (plans.size >= PLANS_MAX) plans.clear();
  plans.set(source, made);
  return made;
}

/** Whether the condition holds; the error says why it cannot be told. */
export function evaluateCondition(
  source: string,
  attributes: PredicateQuestion["attributes"],
): Result<boolean, string> {
  const evaluate = planOf(source);
  if (typeof evaluate === "string") return err(evaluate);
  const { event, turn, session, vars, providers } = attributes;
  const answer = evaluate({
    event: new Map<string, CelInput>([
      ...Object.entries(event),
      ["chars", BigInt(event.chars)],
      ["segment", BigInt(event.segment)],
    ]),
    turn: new Map<string, CelInput>([
      ["number", BigInt(turn.number)],
      ["origin", turn.origin],
    ]),
    session: new Map<string, string>(Object.entries(session)),
    vars: new Map(Object.entries(vars).map(([name, value]) => [name, variableOf(value)] as const)),
    providers: new Map(
      Object.entries(providers).map(([name, healthy]) => [name, new Map([["healthy", healthy]])] as const),
    ),
  });
  if (typeof answer === "boolean") return ok(answer);
  return err(isCelError(answer) ? answer.message.slice(0, 160) : "the condition is not true or false");
}

/** A number without a fraction is a whole one, as it is in the source of a condition. */
function variableOf(value: string | number | boolean): string | number | boolean | bigint {
  return Number.isSafeInteger(value) ? BigInt(value) : value;
}

/** The shell's answer to the kernel's question (`kernel.md` §1). */
export function answerPredicate(question: PredicateQuestion): FactAnswer {
  const answer = evaluateCondition(question.source, question.attributes);
  return answer.ok ? answer.value : PREDICATE_FAILED;
}
