/** Expectations of a test script against what came of the call (X-08). */
import { isDeepStrictEqual } from "node:util";
import { placeOf } from "@rspp/spec/places";
import {
  actionOf,
  type CallExpectation,
  patternOf,
  type SignalExpectation,
  type TestScript,
  type ToolExpectation,
  type TurnExpectation,
  turnsOf,
  type Wording,
} from "@rspp/spec/test-script/script";
import type { CallFacts, SignalFacts, ToolFacts, TurnFacts } from "./facts.ts";
import type { PlayedStep } from "./play.ts";

export interface Check {
  /** From 0; null: of the call as a whole. */
  readonly step: number | null;
  readonly expectation: string;
  readonly ok: boolean;
  readonly expected: string;
  readonly found: string;
  /** In the script. */
  readonly line: number;
  readonly column: number;
  readonly path: string;
}

/** Of a step's part of the call, or of all of it. */
interface Scope {
  readonly turns: readonly TurnFacts[];
  readonly signals: readonly SignalFacts[];
  readonly tools: readonly ToolFacts[];
  readonly facts: CallFacts;
}

interface Verdict {
  readonly expectation: string;
  readonly ok: boolean;
  readonly expected: string;
  readonly found: string;
  /** Field below `expect`. */
  readonly field: string;
}

/** Every expectation, those that hold for each call included; in the order of the script. */
export function checkCall(script: TestScript, played: readonly PlayedStep[], facts: CallFacts): Check[] {
  const checks: Check[] = [];
  const add = (step: number | null, path: string, { expectation, ok, expected, found, field }: Verdict): void => {
    const whole = field === "" ? path : `${path}.${field}`;
    const { line, column } = placeOf(script.positions, whole);
    checks.push({ step, expectation, ok, expected, found, line, column, path: whole });
  };
  for (const [i, step] of script.steps.entries()) {
    const mine = played.find(({ index }) => index === i);
    const path = `steps[${i}]`;
    if (mine === undefined || mine.problem !== "") {
      const found = mine?.problem ?? "the call did not come so far";
      add(i, path, {
        expectation: "step",
        ok: false,
        expected: actionOf(step) ?? "the agent speaks",
        found,
        field: "",
      });
      continue;
    }
    const scope = scopeOf(
      facts,
      mine,
      played.find(({ index }) => index > i),
    );
    add(i, path, turnCount(turnsOf(step), scope.turns.length, ""));
    for (const verdict of turnVerdicts(step.expect ?? {}, scope)) add(i, `${path}.expect`, verdict);
  }
  const last = played.find(({ index }) => index >= script.steps.length);
  if (last !== undefined)
    add(null, "", { expectation: "end", ok: false, expected: "every reply is over", found: last.problem, field: "" });
  for (const verdict of callVerdicts(script.expect ?? {}, facts)) add(null, "expect", verdict);
  for (const verdict of alwaysVerdicts(facts)) add(null, "", verdict);
  return checks;
}

function scopeOf(facts: CallFacts, mine: PlayedStep, next: PlayedStep | undefined): Scope {
  const turns = facts.turns.slice(mine.from, next?.from);
  const numbers = turns.map(({ turn }) => turn);
  const untilNs = next?.startNs ?? Number.POSITIVE_INFINITY;
  const signals = facts.signals.filter(
    ({ turn, monoNs }) => numbers.includes(turn) || (monoNs >= mine.startNs && monoNs < untilNs),
  );
  return { turns, signals, tools: facts.tools.filter(({ turn }) => numbers.includes(turn)), facts };
}

const turnCount = (expected: number, found: number, field: string): Verdict => ({
  expectation: "turns",
  ok: expected === found,
  expected: String(expected),
  found: String(found),
  field,
});

function turnVerdicts(expect: TurnExpectation, scope: Scope): Verdict[] {
  const { turns } = scope;
  const joined = (of: (turn: TurnFacts) => string): string =>
    turns
      .map(of)
      .filter((text) => text !== "")
      .join(" ");
  const verdicts: Verdict[] = [];
  if (expect.text !== undefined)
    verdicts.push(
      wordingVerdict(
        "text",
        expect.text,
        joined(({ text }) => text),
      ),
    );
  if (expect.heard !== undefined)
    verdicts.push(
      wordingVerdict(
        "heard",
        expect.heard,
        joined(({ heard }) => heard),
      ),
    );
  if (expect.caller !== undefined)
    verdicts.push(
      wordingVerdict(
        "caller",
        expect.caller,
        joined(({ caller }) => caller),
      ),
    );
  if (expect.cut !== undefined) {
    const found = turns.some(({ delivery, terminal }) => delivery === "cancelled" || terminal === "abort");
    verdicts.push({ ...compared("cut", expect.cut, found), field: "cut" });
  }
  for (const [i, tool] of (expect.tools ?? []).entries()) verdicts.push(toolVerdict(tool, scope.tools, `tools[${i}]`));
  for (const [name, max] of Object.entries(expect.latency ?? {})) verdicts.push(latencyVerdict(name, max, turns));
  verdicts.push(...evidenceVerdicts(expect, turns));
  for (const [i, signal] of (expect.signals ?? []).entries())
    verdicts.push(signalVerdict(typeof signal === "string" ? { signal } : signal, scope.signals, `signals[${i}]`));
  if (expect.no_output_after_cancel !== undefined) verdicts.push(cancelVerdict(expect.no_output_after_cancel, scope));
  return verdicts;
}

function compared(expectation: string, expected: unknown, found: unknown): Omit<Verdict, "field"> {
  return { expectation, ok: expected === found, expected: String(expected), found: String(found) };
}

function wordingVerdict(field: string, wording: Wording, found: string): Verdict {
  const verdict = (expectation: string, ok: boolean, expected: string): Verdict => ({
    expectation,
    ok,
    expected,
    found,
    field,
  });
  if (typeof wording === "string") return verdict(field, found === wording, wording);
  const faults: string[] = [];
  const wanted: string[] = [];
  for (const part of wording.contains ?? []) {
    wanted.push(`contains "${part}"`);
    if (!found.includes(part)) faults.push(`contains "${part}"`);
  }
  for (const part of wording.not_contains ?? []) {
    wanted.push(`does not contain "${part}"`);
    if (found.includes(part)) faults.push(`does not contain "${part}"`);
  }
  if (wording.matches !== undefined) {
    const { source, flags } = patternOf(wording.matches);
    wanted.push(`matches /${source}/`);
    if (!new RegExp(`^(?:${source})$`, flags).test(found)) faults.push(`matches /${source}/`);
  }
  return verdict(field, faults.length === 0, (faults.length === 0 ? wanted : faults).join(", "));
}

function toolVerdict(wanted: ToolExpectation, calls: readonly ToolFacts[], field: string): Verdict {
  const name = wanted.called ?? wanted.not_called ?? "";
  const shown =
    calls.map((call) => `${call.tool} ${call.arguments} (${call.outcome})`).join("; ") || "no tool was called";
  const named = calls.filter(({ tool }) => tool === name);
  if (wanted.not_called !== undefined)
    return { expectation: "tools", ok: named.length === 0, expected: `${name} is not called`, found: shown, field };
  const fits = named.filter((call) => wanted.with === undefined || hasArguments(call.arguments, wanted.with));
  const ok = wanted.times === undefined ? fits.length > 0 : fits.length === wanted.times;
  const times = wanted.times === undefined ? "" : `, ${wanted.times} times`;
  const expected = `${name} ${wanted.with === undefined ? "" : JSON.stringify(wanted.with)}${times}`.trim();
  return { expectation: "tools", ok, expected, found: shown, field };
}

function hasArguments(json: string, wanted: Readonly<Record<string, unknown>>): boolean {
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch {
    return false;
  }
  if (typeof given !== "object" || given === null) return false;
  return Object.entries(wanted).every(([key, value]) =>
    isDeepStrictEqual((given as Record<string, unknown>)[key], value),
  );
}

/** The slowest turn counts; one that was not measured fails, since a missing anchor proves nothing. */
function latencyVerdict(name: string, max: number, turns: readonly TurnFacts[]): Verdict {
  const found = turns.flatMap(({ latencies }) => (latencies[name] === undefined ? [] : [latencies[name]]));
  const worst = found.length === 0 ? undefined : Math.max(...found);
  return {
    expectation: name,
    ok: worst !== undefined && worst <= max,
    expected: `at most ${max}`,
    found: worst === undefined ? "not measured" : String(Math.round(worst * 1_000) / 1_000),
    field: `latency.${name}`,
  };
}

function evidenceVerdicts({ evidence = {} }: TurnExpectation, turns: readonly TurnFacts[]): Verdict[] {
  const verdicts: Verdict[] = [];
  const all = (field: "terminal" | "reason" | "delivery"): string =>
    turns.length === 0 ? "no turn" : [...new Set(turns.map((turn) => turn[field] || "none"))].join(", ");
  if (evidence.complete !== undefined) {
    const gaps = turns.flatMap(({ turn, missing }) =>
      missing === null ? [`turn ${turn}: no evidence`] : missing.map((part) => `turn ${turn}: ${part} is missing`),
    );
    const complete = gaps.length === 0 && turns.length > 0;
    const found = complete ? "complete" : gaps.join("; ") || "no turn";
    const expected = evidence.complete ? "complete" : "incomplete";
    verdicts.push({
      expectation: "evidence",
      ok: complete === evidence.complete,
      expected,
      found,
      field: "evidence.complete",
    });
  }
  for (const field of ["terminal", "reason", "delivery"] as const) {
    const expected = evidence[field];
    if (expected === undefined) continue;
    verdicts.push({ ...compared(field, expected, all(field)), field: `evidence.${field}` });
  }
  return verdicts;
}

function signalVerdict(wanted: SignalExpectation, signals: readonly SignalFacts[], field: string): Verdict {
  const named = signals.filter(({ signal }) => signal === wanted.signal);
  const fits = named.filter(({ reason, fields }) => {
    const asked = Object.entries(wanted.fields ?? {});
    return (
      (wanted.reason ?? reason) === reason &&
      asked.every(([name, value]) => plainValue(fields[name]) === plainValue(value))
    );
  });
  const ok = wanted.times === undefined ? fits.length > 0 : fits.length === wanted.times;
  const { signal, reason = "", fields, times } = wanted;
  const count = times === undefined ? "" : ` ${times} times`;
  const expected = `${signal} ${reason}${fields === undefined ? "" : ` ${JSON.stringify(fields)}`}`.trim() + count;
  const shown = named.slice(0, 5).map((one) => `${one.signal} ${one.reason} ${JSON.stringify(one.fields)}`);
  const more = named.length > 5 ? `; and ${named.length - 5} more` : "";
  const found = ok ? `${fits.length} of them` : shown.join("; ") + more || `no ${signal}`;
  return { expectation: "signals", ok, expected, found, field };
}

/** Signals tell truth as 0 and 1. */
const plainValue = (value: unknown): string => String(typeof value === "boolean" ? Number(value) : value);

function cancelVerdict(wanted: boolean, { turns, facts }: Scope): Verdict {
  const cancelled = turns.some((turn) => turn.cancelled);
  const found = cancelled
    ? facts.afterFence === 0
      ? "none"
      : `${facts.afterFence} samples or frames`
    : "nothing was cancelled";
  const ok = cancelled && (facts.afterFence === 0) === wanted;
  return {
    expectation: "output after cancel",
    ok,
    expected: wanted ? "none" : "some",
    found,
    field: "no_output_after_cancel",
  };
}

function callVerdicts(expect: CallExpectation, facts: CallFacts): Verdict[] {
  const verdicts = turnVerdicts(expect, { ...facts, facts });
  if (expect.turns !== undefined) verdicts.push(turnCount(expect.turns, facts.turns.length, "turns"));
  if (expect.conversation !== undefined) verdicts.push(conversationVerdict(expect.conversation, facts.lines));
  if (expect.order !== undefined) verdicts.push(orderVerdict(expect.order, facts.lines));
  const told = `${facts.lines.join("\n")}\n${JSON.stringify(facts.signals)}`;
  for (const [i, text] of (expect.never ?? []).entries()) {
    const ok = !told.includes(text);
    verdicts.push({
      expectation: "never",
      ok,
      expected: `"${text}" stands nowhere`,
      found: ok ? "nowhere" : `"${text}"`,
      field: `never[${i}]`,
    });
  }
  if (expect.ended !== undefined) verdicts.push({ ...compared("ended", expect.ended, facts.ended), field: "ended" });
  return verdicts;
}

function lineFits(wanted: string, line: string): boolean {
  const cut = wanted.endsWith(" [cut]");
  const bare = cut ? wanted.slice(0, -" [cut]".length) : wanted;
  if (!bare.endsWith("…")) return line === wanted;
  return line.startsWith(bare.slice(0, -1)) && line.endsWith(" [cut]") === cut;
}

function conversationVerdict(wanted: readonly string[], lines: readonly string[]): Verdict {
  const ok = wanted.length === lines.length && wanted.every((one, i) => lineFits(one, lines[i] ?? ""));
  return {
    expectation: "conversation",
    ok,
    expected: wanted.join("\n"),
    found: lines.join("\n"),
    field: "conversation",
  };
}

function orderVerdict(wanted: readonly string[], lines: readonly string[]): Verdict {
  let at = 0;
  const missing = wanted.find((one) => {
    const found = lines.findIndex((line, i) => i >= at && lineFits(one, line));
    at = found + 1;
    return found === -1;
  });
  const expected = missing === undefined ? wanted.join("\n") : `${wanted.join("\n")}\n(first out of place: ${missing})`;
  return { expectation: "order", ok: missing === undefined, expected, found: lines.join("\n"), field: "order" };
}

/** What holds for every call, asked for or not. */
function alwaysVerdicts({ replay, afterFence, leaks }: CallFacts): Verdict[] {
  const found = (faults: readonly string[]): string => faults.join("; ") || "none";
  return [
    {
      expectation: "replay == live",
      ok: replay.problems.length === 0,
      expected: "none differ",
      found: found(replay.problems),
      field: "",
    },
    {
      expectation: "output after a fence",
      ok: afterFence === 0,
      expected: "none",
      found: afterFence === 0 ? "none" : `${afterFence} samples or frames`,
      field: "",
    },
    { expectation: "left open", ok: leaks.length === 0, expected: "none", found: found(leaks), field: "" },
  ];
}
