/** A test script as written, and from text to a checked one. */
import { ok, type Result } from "@rspp/base/result";
import { placeOf } from "../places.ts";
import type { Place, SpecProblem } from "../problem.ts";
import { readDocument } from "../published/read-document.ts";
import { patternFault } from "../safe-pattern.ts";
import { STEP_ACTIONS, type TEST_LATENCIES, testScriptSchema } from "./script-schema.ts";

export type Scalar = string | number | boolean;

export interface Speech {
  readonly say?: string;
  readonly audio?: { readonly wav: string; readonly text?: string };
}

/** While the agent speaks. */
export interface Moment {
  readonly after_ms?: number;
  /** Once these words of the reply were heard. */
  readonly at_text?: string;
}

/** Exact, or by parts. */
export type Wording =
  | string
  | { readonly contains?: readonly string[]; readonly not_contains?: readonly string[]; readonly matches?: string };

export interface ToolExpectation {
  readonly called?: string;
  readonly not_called?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly times?: number;
}

export interface SignalExpectation {
  readonly signal: string;
  readonly reason?: string;
  readonly fields?: Readonly<Record<string, unknown>>;
  /** Default: once at least. */
  readonly times?: number;
}

export interface TurnExpectation {
  /** What the agent said. */
  readonly text?: Wording;
  /** What of it was heard, by the transport's word. */
  readonly heard?: Wording;
  /** What the caller was understood to say. */
  readonly caller?: Wording;
  readonly cut?: boolean;
  readonly tools?: readonly ToolExpectation[];
  /** Milliseconds, each at most. */
  readonly latency?: Readonly<Partial<Record<(typeof TEST_LATENCIES)[number], number>>>;
  readonly evidence?: {
    readonly complete?: boolean;
    readonly terminal?: "commit" | "abort";
    readonly reason?: string;
    readonly delivery?: "completed" | "cancelled" | "lost";
  };
  readonly signals?: readonly (string | SignalExpectation)[];
  readonly no_output_after_cancel?: boolean;
}

export interface CallExpectation extends TurnExpectation {
  readonly order?: readonly string[];
  readonly conversation?: readonly string[];
  readonly never?: readonly string[];
  readonly turns?: number;
  readonly ended?: string;
}

export interface TestStep extends Speech {
  readonly barge_in?: Speech & Moment & { readonly dtmf?: string; readonly hang_up?: boolean };
  readonly dtmf?: string;
  readonly silence_ms?: number;
  readonly push_to_talk?: Speech;
  readonly network?: Moment & {
    readonly cut_ms?: number;
    readonly loss_percent?: number;
    readonly jitter_ms?: number;
  };
  readonly hang_up?: boolean;
  readonly turns?: number;
  readonly expect?: TurnExpectation;
}

export type StepAction = (typeof STEP_ACTIONS)[number];

export interface ScriptedTool {
  readonly result?: unknown;
  readonly text?: string;
  readonly error?: string;
  readonly after_ms?: number;
}

export interface TestScriptDocument {
  readonly schema: string;
  readonly description?: string;
  readonly pipeline: string;
  readonly layers?: readonly string[];
  readonly time?: "virtual" | "real";
  readonly seed?: string;
  readonly wait_ms?: number;
  readonly variables?: Readonly<Record<string, Scalar>>;
  readonly providers?: Readonly<Record<string, string | { readonly name: string; readonly settings?: Settings }>>;
  readonly tools?: Readonly<Record<string, ScriptedTool>>;
  readonly steps: readonly TestStep[];
  readonly expect?: CallExpectation;
}

export type Settings = Readonly<Record<string, Scalar | readonly string[]>>;

export interface TestScript extends TestScriptDocument {
  readonly positions: ReadonlyMap<string, Place>;
}

/** Never throws; all problems come back at once, sorted by place. What only its pipeline tells: `checkAgainstPipeline`. */
export function parseTestScript(text: string, fileName: string): Result<TestScript, SpecProblem[]> {
  const read = readDocument<TestScriptDocument>(text, fileName, testScriptSchema, (script, problems, places) => {
    const refuse: Refuse = (path, message, remedy) =>
      problems.add(placeOf(places, path), { path, code: "not_allowed", message, remedy });
    checkScript(script, refuse);
  });
  return read.ok ? ok({ ...read.value.value, positions: read.value.positions }) : read;
}

export type Refuse = (path: string, message: string, remedy: string) => void;

/** What a step does; undefined: the agent speaks of its own accord. */
export function actionOf(step: TestStep): StepAction | undefined {
  return STEP_ACTIONS.find((action) => step[action] !== undefined);
}

/** How many turns come of a step unless it says so. */
export function turnsOf(step: TestStep): number {
  if (step.turns !== undefined) return step.turns;
  const action = actionOf(step);
  const quiet = action === "silence_ms" || action === "network" || action === "hang_up";
  return quiet || step.barge_in?.hang_up === true ? 0 : 1;
}

function checkScript({ steps, tools = {}, expect }: TestScriptDocument, refuse: Refuse): void {
  for (const [i, step] of steps.entries()) checkStep(step, `steps[${i}]`, refuse);
  const hungUp = steps.findIndex(({ hang_up, barge_in }) => hang_up === true || barge_in?.hang_up === true);
  if (hungUp !== -1 && hungUp < steps.length - 1)
    refuse(`steps[${hungUp + 1}]`, "the caller has hung up before", "put hang_up last");
  for (const [name, tool] of Object.entries(tools)) one(tool, ["result", "text", "error"], `tools.${name}`, refuse);
  if (expect !== undefined) checkExpectation(expect, "expect", refuse);
}

function checkStep(step: TestStep, path: string, refuse: Refuse): void {
  const actions = STEP_ACTIONS.filter((action) => step[action] !== undefined);
  if (actions.length > 1)
    refuse(`${path}.${actions[1]}`, `a step does one thing, this one ${actions.join(" and ")}`, "make two steps of it");
  if (actions.length === 0 && step.expect === undefined && step.turns === undefined)
    refuse(path, "the step does nothing and expects nothing", `give it one of ${STEP_ACTIONS.join(", ")}, or expect`);
  const { barge_in, push_to_talk, network, hang_up, expect } = step;
  if (hang_up === false) refuse(`${path}.hang_up`, "nobody hangs up", "write hang_up: true, or remove the step");
  if (barge_in?.hang_up === false)
    refuse(`${path}.barge_in.hang_up`, "nobody hangs up", "write hang_up: true, or remove it");
  if (barge_in !== undefined) {
    one(barge_in, ["say", "audio", "dtmf", "hang_up"], `${path}.barge_in`, refuse);
    checkMoment(barge_in, `${path}.barge_in`, refuse);
  }
  if (push_to_talk !== undefined) one(push_to_talk, ["say", "audio"], `${path}.push_to_talk`, refuse);
  if (network !== undefined) {
    if (network.cut_ms === undefined && network.loss_percent === undefined && network.jitter_ms === undefined)
      refuse(`${path}.network`, "no trouble is named", "give it cut_ms, loss_percent or jitter_ms");
    checkMoment(network, `${path}.network`, refuse);
  }
  if (expect === undefined) return;
  if (turnsOf(step) === 0 && needsTurn(expect))
    refuse(`${path}.expect`, "no turn comes of this step", "say with turns: how many do, or expect it of another step");
  checkExpectation(expect, `${path}.expect`, refuse);
}

function checkMoment(moment: Moment, path: string, refuse: Refuse): void {
  if (moment.after_ms !== undefined && moment.at_text !== undefined)
    refuse(`${path}.at_text`, "the moment is given twice", "keep one of after_ms and at_text");
}

/** The moment of a step that is taken while the agent speaks; undefined for one that waits until it has spoken. */
export function momentOf({ barge_in, network }: TestStep): Moment | undefined {
  if (barge_in !== undefined) return barge_in;
  return network?.after_ms === undefined && network?.at_text === undefined ? undefined : network;
}

const needsTurn = ({ text, heard, caller, cut, latency, evidence }: TurnExpectation): boolean =>
  [text, heard, caller, cut, latency, evidence].some((field) => field !== undefined);

function one(value: object, names: readonly string[], path: string, refuse: Refuse): void {
  const given = names.filter((name) => Object.hasOwn(value, name));
  if (given.length === 1) return;
  const message = given.length === 0 ? "nothing is given" : `${given.join(" and ")} are both given`;
  refuse(given.length === 0 ? path : `${path}.${given[1]}`, message, `give one of ${names.join(", ")}`);
}

function checkExpectation(expect: TurnExpectation, path: string, refuse: Refuse): void {
  if (Object.keys(expect).length === 0)
    refuse(path, "nothing is expected", "name what is expected, e.g. text, or remove the field");
  for (const field of ["text", "heard", "caller"] as const) {
    const wording = expect[field];
    if (wording === undefined || typeof wording === "string") continue;
    if (Object.keys(wording).length === 0)
      refuse(`${path}.${field}`, "nothing is expected of it", "give it contains, not_contains or matches");
    const fault = wording.matches === undefined ? null : patternFault(patternOf(wording.matches).source);
    if (fault !== null) refuse(`${path}.${field}.matches`, `the pattern ${fault}`, "write a simpler pattern");
  }
  for (const [i, tool] of (expect.tools ?? []).entries()) {
    const at = `${path}.tools[${i}]`;
    one(tool, ["called", "not_called"], at, refuse);
    for (const field of ["with", "times"] as const)
      if (tool.not_called !== undefined && tool[field] !== undefined)
        refuse(`${at}.${field}`, `"${field}" says nothing of a tool that is not called`, `remove ${field}`);
  }
  const { evidence = {} } = expect;
  if (evidence.reason !== undefined && evidence.terminal === "commit")
    refuse(`${path}.evidence.reason`, "a commit has no reason", "expect terminal: abort, or remove the reason");
}

/** `(?i)` in front makes it blind to case. */
export function patternOf(pattern: string): { source: string; flags: string } {
  return pattern.startsWith("(?i)") ? { source: pattern.slice(4), flags: "iu" } : { source: pattern, flags: "u" };
}
