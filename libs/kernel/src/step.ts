/**
 * One synchronous step over one session (`kernel.md` §1): take a batch in, decide ties, dispatch at most a quantum in lane
 * order, decide what that brought up, release outputs behind the fence. The same function serves production, replay,
 * simulator and tests.
 */
import { invariant } from "@rspp/base/invariant";
import { actOnBudgets } from "./budget-act.ts";
import type { Effect } from "./effect.ts";
import { LANE_DATA, LANE_TELEMETRY } from "./event.ts";
import { dispatch } from "./executor.ts";
import { takeFallback } from "./fallback.ts";
import { ingest } from "./ingest.ts";
import type { Batch } from "./input.ts";
import { lanePop, lanesReady } from "./lanes.ts";
import { BATCH_INPUTS_MAX, QUANTUM_DISPATCHES, TELEMETRY_SHARE } from "./limits.ts";
import { tellSheds } from "./local-admission.ts";
import { releaseOutputs } from "./output-stage.ts";
import { goTextOnly } from "./postures.ts";
import type { Fact, PureFunctions } from "./pure-functions.ts";
import { expireAuthority, ingestAuthority } from "./session-authority.ts";
import { finishEnding } from "./session-end.ts";
import { emitSnapshot } from "./settlement.ts";
import { dialogueStep } from "./silence.ts";
import type { SessionState } from "./state.ts";
import type { StepContext } from "./step-context.ts";
import { arbitrate, refuseQueued, resolveCauses, resolveUrgentCauses } from "./turn-arbiter.ts";
import { settlePressure } from "./watermark-actions.ts";

export interface KernelEnv {
  fns: PureFunctions;
}

export interface StepResult {
  effects: Effect[];
  /** Answers of pure functions, in the order asked; journaled with the batch. */
  facts: Fact[];
  /** Whether something is left to do now: step again with an empty batch. */
  runnable: boolean;
}

/** @throws InvariantError when the shell broke the contract: batch too large, indexes or stamps out of order. */
export function step(s: SessionState, batch: Batch, env: KernelEnv): StepResult {
  invariant(batch.index === s.batchIndex + 1, "batches rise by one", {
    expected: s.batchIndex + 1,
    found: batch.index,
  });
  invariant(batch.inputs.length <= BATCH_INPUTS_MAX, "a batch is bounded", batch.inputs.length);
  s.batchIndex = batch.index;
  const cx: StepContext = {
    s,
    failover,
    fns: env.fns,
    effects: [],
    facts: [],
    causes: [],
    overruns: [],
    sheds: [],
    dispatched: { count: 0 },
    proposals: [],
    nowNs: batch.monoNs,
    wallMs: batch.wallMs,
    atNs: batch.monoNs,
    inputSeq: s.inputSeq,
  };
  if (s.lifecycle.phase === "ended") return afterEnd(cx, batch);
  // Machines can be suspended: the lease is looked at before any effect (§7).
  for (const input of batch.inputs) if (input.body.type === "authority") ingestAuthority(cx, input);
  cx.inputSeq = s.inputSeq;
  cx.atNs = batch.monoNs;
  expireAuthority(cx, batch.monoNs);
  for (const input of batch.inputs) {
    invariant(input.seq === s.inputSeq + 1, "inputs rise by one", { expected: s.inputSeq + 1, found: input.seq });
    s.inputSeq = input.seq;
    cx.inputSeq = input.seq;
    cx.atNs = input.monoNs;
    ingest(cx, input);
  }
  if (cx.overruns.length > 0) actOnBudgets(cx);
  if (resolveUrgentCauses(cx)) arbitrate(cx);
  dispatchQuantum(cx);
  if (cx.pressured !== undefined) settlePressure(cx);
  if (cx.overruns.length > 0) actOnBudgets(cx);
  resolveCauses(cx);
  arbitrate(cx);
  cx.atNs = batch.monoNs;
  if (cx.overruns.length > 0) actOnBudgets(cx);
  releaseOutputs(cx);
  // A turn released at this point may have had nothing to play.
  resolveCauses(cx);
  if (cx.proposals.length > 0) arbitrate(cx);
  if (s.dialogue !== undefined || s.config.policy.silence !== undefined) {
    dialogueStep(cx);
    resolveCauses(cx);
  }
  if (s.lifecycle.phase === "draining") refuseQueued(cx, "session_draining");
  if (cx.sheds.length > 0) tellSheds(cx);
  finishEnding(cx);
  emitSnapshot(cx);
  return { effects: cx.effects, facts: cx.facts, runnable: lanesReady(s.lanes, batch.monoNs) };
}

/** What is left where a node has failed in a turn: its fallback, or, of a voice, text. */
const failover: StepContext["failover"] = (cx, turn, node, inv, error) =>
  takeFallback(cx, turn, node, inv, error) || goTextOnly(cx, turn, node, inv, error);

/** Data, then a bounded share of Telemetry. Control acted when it was taken in, before all of it (`kernel.md` §4). */
function dispatchQuantum(cx: StepContext): void {
  const { lanes } = cx.s;
  const nowNs = cx.nowNs;
  let telemetry = 0;
  for (let n = 0; n < QUANTUM_DISPATCHES; n++) {
    let item = lanePop(lanes, LANE_DATA, nowNs);
    if (item === undefined && telemetry < TELEMETRY_SHARE) {
      item = lanePop(lanes, LANE_TELEMETRY, nowNs);
      telemetry += 1;
    }
    if (item === undefined) return;
    dispatch(cx, item);
  }
}

/** An ended session takes nothing in; inputs are counted so that the journal stays whole. */
function afterEnd(cx: StepContext, batch: Batch): StepResult {
  for (const input of batch.inputs) {
    cx.s.inputSeq = input.seq;
    cx.s.counters.ignoredInputs += 1;
  }
  return { effects: cx.effects, facts: cx.facts, runnable: false };
}
