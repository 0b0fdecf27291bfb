/** Plays the steps of a test script on a line. */
import {
  actionOf,
  type Moment,
  momentOf,
  type TestScript,
  type TestStep,
  turnsOf,
} from "@rspp/spec/test-script/script";
import { speechOf, type Utterance } from "./caller-speech.ts";
import type { Line } from "./line.ts";
import type { Stage } from "./stage.ts";

export interface PlayedStep {
  readonly index: number;
  /** Instant on the session's clock. */
  readonly startNs: number;
  /** Turns before it. */
  readonly from: number;
  /** What could not be done; "" when it was. */
  readonly problem: string;
}

export interface PlayOptions {
  readonly stage: Stage;
  readonly line: Line;
  readonly script: TestScript;
  readonly utterances: readonly (Utterance | null)[];
  readonly greets: boolean;
  /** Told before each step. */
  readonly onStep: (index: number) => void;
}

const WAIT_MS = 60_000;
/** After a reply, before the caller goes on. */
const PAUSE_MS = 100;
/** Into a reply, where a barge-in names no moment. */
const BARGE_IN_MS = 500;
/** After speech of which no turn comes: longer than any endpoint. */
const QUIET_MS = 1_500;
const TAIL_MS = 1_000;

/** The steps that were played; it ends early where one could not be, or the call was over. */
export async function playSteps(options: PlayOptions): Promise<readonly PlayedStep[]> {
  const { stage, line, script, onStep } = options;
  const waitMs = script.wait_ms ?? WAIT_MS;
  const played: PlayedStep[] = [];
  let due = options.greets ? 1 : 0;
  const settled = (): Promise<boolean> =>
    stage.until(() => line.ended() !== "" || (line.opened.length >= due && line.idle()), waitMs);
  const begun = (): Promise<boolean> => stage.until(() => line.ended() !== "" || line.opened.length >= due, waitMs);
  const missing = (): string =>
    line.opened.length < due
      ? `after ${waitMs} ms ${line.opened.length} turns were opened, ${due} are due`
      : `the reply was not over after ${waitMs} ms`;
  for (const [index, step] of script.steps.entries()) {
    onStep(index);
    const action = actionOf(step);
    const at = momentOf(step);
    const ready = await (at !== undefined
      ? reached(options, at, due, waitMs)
      : action === undefined
        ? begun()
        : settled());
    // What the agent says of its own accord may have begun already; before the first step that is its greeting.
    const from = action !== undefined ? line.opened.length : index === 0 ? 0 : Math.min(due, line.opened.length);
    const problem = ready
      ? line.ended() === "" || action === undefined
        ? ""
        : `the call was over: ${line.ended()}`
      : missing();
    played.push({ index, startNs: stage.clock.nowNs(), from, problem });
    if (problem !== "") return played;
    due = from + turnsOf(step);
    await act(options, step, options.utterances[index] ?? null);
  }
  if (!(await settled()))
    played.push({
      index: script.steps.length,
      startNs: stage.clock.nowNs(),
      from: line.opened.length,
      problem: missing(),
    });
  await stage.pass(TAIL_MS);
  return played;
}

/** Until the agent has said so much. */
async function reached(
  { stage, line }: PlayOptions,
  { after_ms, at_text }: Moment,
  due: number,
  waitMs: number,
): Promise<boolean> {
  const over = (): boolean => line.ended() !== "";
  const speaking = (): boolean => line.opened.length >= due && line.speaking() !== 0;
  if (!(await stage.until(() => over() || speaking(), waitMs))) return false;
  if (at_text === undefined) {
    await stage.pass(after_ms ?? BARGE_IN_MS);
    return true;
  }
  const said = (): boolean => {
    const turn = line.speaking();
    return stage.replies.heard(turn, at_text, line.playedUs(turn));
  };
  return stage.until(() => over() || said(), waitMs);
}

async function act({ stage, line }: PlayOptions, step: TestStep, utterance: Utterance | null): Promise<void> {
  const { adapter } = line;
  if (actionOf(step) === undefined) return;
  if (momentOf(step) === undefined) await stage.pass(PAUSE_MS);
  if (line.ended() !== "") return;
  if (step.silence_ms !== undefined) return stage.pass(step.silence_ms);
  if ((step.hang_up ?? step.barge_in?.hang_up) === true) return line.hangUp();
  if (step.network !== undefined) return suffer(stage, line, step.network);
  const keys = step.dtmf ?? step.barge_in?.dtmf;
  if (keys !== undefined) adapter.dtmf(keys);
  if (speechOf(step) === undefined || utterance === null) return;
  let spoken = false;
  adapter.speak(utterance.samples, {
    onSpoken: () => {
      spoken = true;
      if (step.push_to_talk !== undefined) adapter.endOfUtterance();
    },
  });
  await stage.until(() => spoken || line.ended() !== "", utterance.ms + QUIET_MS);
  if (turnsOf(step) === 0) await stage.pass(QUIET_MS);
}

async function suffer(stage: Stage, line: Line, network: NonNullable<TestStep["network"]>): Promise<void> {
  const { cut_ms, loss_percent, jitter_ms } = network;
  line.trouble.set({
    ...(loss_percent === undefined ? {} : { lossPercent: loss_percent }),
    ...(jitter_ms === undefined ? {} : { jitterMs: jitter_ms }),
  });
  if (cut_ms === undefined) return;
  line.adapter.lose();
  await stage.pass(cut_ms);
  if (line.ended() === "") line.adapter.reconnect();
}
