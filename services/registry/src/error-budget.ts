/** How much of the error budget is spent, as Prometheus tells it (NF-005): deploy/prometheus/rules.yaml. */
import type { Log } from "@rspp/rpc/log";

/** The recording rule that is asked for. */
export const BUDGET_QUERY = "rspp:error_budget_spent:ratio30d";

export type BudgetReading =
  /** Of the budget of 30 days; 1: all of it. */
  { readonly kind: "known"; readonly ratio: number } | { readonly kind: "unknown"; readonly why: string };

export interface ErrorBudget {
  /** Never rejects; asks Prometheus for 2 s at most, and again after 30 s at the soonest, 5 s where it gave no answer. */
  read(): Promise<BudgetReading>;
}

export interface ErrorBudgetOptions {
  /** Base URL of a Prometheus HTTP API. */
  readonly url: string;
  /** Milliseconds, rising. */
  readonly nowMs: () => number;
  readonly log: Pick<Log, "warn">;
  /** Default {@link fetch}. */
  readonly fetch?: typeof fetch;
}

const deadlineMs = 2_000;
const keptMs = 30_000;
const againMs = 5_000;
const answerCharsMax = 65_536;

export function createErrorBudget({ url, nowMs, log, fetch: get = fetch }: ErrorBudgetOptions): ErrorBudget {
  let kept: { readonly reading: Promise<BudgetReading>; untilMs: number } | null = null;
  return {
    read: () => {
      if (kept !== null && nowMs() < kept.untilMs) return kept.reading;
      const mine = { reading: ask(url, get), untilMs: Number.POSITIVE_INFINITY };
      kept = mine;
      // One question at a time; what it brings is kept from then on.
      return mine.reading.then((reading) => {
        mine.untilMs = nowMs() + (reading.kind === "known" ? keptMs : againMs);
        if (reading.kind === "unknown")
          log.warn({ url, why: reading.why }, "the error budget is not known: nothing is frozen");
        return reading;
      });
    },
  };
}

async function ask(base: string, get: typeof fetch): Promise<BudgetReading> {
  try {
    const target = new URL(`${base.replace(/\/+$/, "")}/api/v1/query`);
    target.searchParams.set("query", BUDGET_QUERY);
    const answer = await get(target, { signal: AbortSignal.timeout(deadlineMs), redirect: "error" });
    if (!answer.ok) return { kind: "unknown", why: `it answered ${answer.status}` };
    return readAnswer(await bounded(answer));
  } catch (failure) {
    return { kind: "unknown", why: failureWords(failure) };
  }
}

/** Nothing of the address, which the log line has. */
function failureWords(failure: unknown): string {
  if (!(failure instanceof Error)) return "it gave no answer";
  if (failure.name === "TimeoutError") return `it gave no answer within ${deadlineMs} ms`;
  const { cause } = failure;
  return cause instanceof Error ? cause.message : failure.message;
}

async function bounded(answer: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of answer.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > answerCharsMax) throw new Error(`its answer is longer than ${answerCharsMax} characters`);
  }
  return text;
}

/** The highest of what it knows, where several regions tell. */
function readAnswer(text: string): BudgetReading {
  const told = JSON.parse(text) as { data?: { result?: readonly { value?: readonly [number, string] }[] } };
  const ratios = (told.data?.result ?? []).map(({ value }) => Number(value?.[1])).filter(Number.isFinite);
  if (ratios.length === 0) return { kind: "unknown", why: `${BUDGET_QUERY} has no value there` };
  return { kind: "known", ratio: Math.max(...ratios) };
}
