/** One session's lease as a sequential object (kernel.md §7): what each call may answer, and what it leaves behind. */
import type { Model } from "./checker.ts";

export type LeaseCall =
  | {
      readonly kind: "grant";
      readonly holder: string;
      readonly takeover: boolean;
      readonly expected: number;
      readonly key: string;
    }
  | { readonly kind: "renew" | "release"; readonly holder: string; readonly epoch: number }
  | { readonly kind: "rotate"; readonly holder: string; readonly epoch: number; readonly key: string }
  | {
      readonly kind: "transfer";
      readonly holder: string;
      readonly to: string;
      readonly epoch: number;
      readonly key: string;
    }
  | { readonly kind: "revoke"; readonly epoch: number }
  | { readonly kind: "get" }
  /** Its term runs out: done to the database directly. */
  | { readonly kind: "lapse" };

export type LeaseAnswer =
  | {
      readonly ok: true;
      readonly epoch: number;
      readonly holder: string;
      readonly state: "granted" | "expired" | "revoked" | "released";
    }
  | { readonly ok: false; readonly problem: string };

interface Request {
  readonly asked: string;
  /** Which unbroken hold it was answered with. */
  readonly hold: number;
}

export interface LeaseState {
  readonly phase: "none" | "held" | "revoked" | "released";
  readonly holder: string;
  /** In force, or the last one; null: issued by a call whose answer was lost, not seen yet. */
  readonly epoch: number | null;
  /** Highest epoch that was seen. */
  readonly floor: number;
  /** Epochs of this holder's unbroken hold, as far as they were seen. */
  readonly held: readonly number[];
  readonly hold: number;
  readonly lapsed: boolean;
  /** The epoch that was revoked. */
  readonly revoked: number;
  readonly requests: Readonly<Record<string, Request>>;
}

const nothing: LeaseState = {
  phase: "none",
  holder: "",
  epoch: 0,
  floor: 0,
  held: [],
  hold: 0,
  lapsed: false,
  revoked: 0,
  requests: {},
};

export const leaseModel: Model<LeaseState, LeaseCall, LeaseAnswer> = {
  initial: nothing,
  step: (state, call, answer) => {
    const then = carryOut(state, call);
    if (answer === undefined) return [then.state];
    if (then.problem !== undefined) return !answer.ok && says(answer.problem, then.problem) ? [state] : [];
    if (call.kind === "lapse") return [then.state];
    if (!answer.ok) return [];
    const seen = see(then.state, answer.epoch);
    const isRight = seen !== null && answer.holder === seen.holder && answer.state === stateOf(seen);
    return isRight ? [seen] : [];
  },
  keyOf: ({ requests, ...state }) => JSON.stringify([state, Object.entries(requests).sort()]),
};

/** A keep-alive says less than a renewal. */
function says(told: string, problem: string): boolean {
  if (told === "fenced") return problem === "revoked" || problem === "stale_epoch" || problem === "not_holder";
  return told === problem;
}

interface Carried {
  readonly state: LeaseState;
  readonly problem?: string;
}

function carryOut(state: LeaseState, call: LeaseCall): Carried {
  switch (call.kind) {
    case "grant":
      return once(state, call.key, `grant/${call.holder}/${call.expected}`, call.holder, () => grant(state, call));
    case "rotate":
      return once(state, call.key, `rotate/${call.holder}/${call.epoch}`, call.holder, () => {
        const problem = problemOf(state, call);
        return problem === undefined ? { state: issue(state, call.holder, true) } : { state, problem };
      });
    case "transfer":
      return once(state, call.key, `transfer/${call.holder}/${call.to}/${call.epoch}`, call.to, () => {
        const problem = problemOf(state, call);
        return problem === undefined ? { state: issue(state, call.to, false) } : { state, problem };
      });
    case "renew":
    case "release": {
      const own = state.phase === "held" && state.holder === call.holder && state.held.includes(call.epoch);
      const problem = own ? undefined : problemOf(state, call);
      if (problem !== undefined) return { state, problem };
      return { state: call.kind === "renew" ? { ...state, lapsed: false } : { ...state, phase: "released" } };
    }
    case "revoke":
      return revoke(state, call.epoch);
    case "get":
      return state.phase === "none" ? { state, problem: "unknown_session" } : { state };
    case "lapse":
      return { state: state.phase === "held" ? { ...state, lapsed: true } : state };
  }
}

/** Under one key a request is carried out once; its repeat is answered with what its holder has now, or refused. */
function once(state: LeaseState, key: string, asked: string, holder: string, carry: () => Carried): Carried {
  const before = state.requests[key];
  if (before !== undefined) {
    if (before.asked !== asked) return { state, problem: "key_reused" };
    const stands = state.phase === "held" && state.holder === holder && state.hold === before.hold;
    return stands ? { state } : { state, problem: "superseded" };
  }
  const done = carry();
  if (done.problem !== undefined) return done;
  return { state: { ...done.state, requests: { ...done.state.requests, [key]: { asked, hold: done.state.hold } } } };
}

function grant(state: LeaseState, { holder, takeover, expected }: Extract<LeaseCall, { kind: "grant" }>): Carried {
  const there = state.phase === "held" || state.phase === "revoked";
  if (expected !== 0 && !(there && state.epoch === expected)) return { state, problem: "unexpected_epoch" };
  if (there && takeover && !(state.phase === "held" && state.holder === holder)) {
    return { state: issue(state, holder, false) };
  }
  if (state.phase !== "held") return { state: issue(state, holder, false) };
  if (state.holder === holder) return { state: { ...state, lapsed: false } };
  return state.lapsed ? { state: issue(state, holder, false) } : { state, problem: "held" };
}

function revoke(state: LeaseState, epoch: number): Carried {
  if (state.phase === "none" || state.phase === "released") return { state, problem: "unknown_session" };
  if (state.epoch === epoch) return { state: { ...issue(state, "", false), phase: "revoked", revoked: epoch } };
  return state.phase === "revoked" && state.revoked === epoch ? { state } : { state, problem: "stale_epoch" };
}

/** Why `holder` may not act under `epoch`. */
function problemOf(state: LeaseState, { holder, epoch }: { holder: string; epoch: number }): string | undefined {
  if (state.phase === "none" || state.phase === "released") return "unknown_session";
  if (state.phase === "revoked") return "revoked";
  if (state.epoch !== epoch) return "stale_epoch";
  return state.holder === holder ? undefined : "not_holder";
}

/** The next epoch, whatever its number turns out to be. */
function issue(state: LeaseState, holder: string, goesOn: boolean): LeaseState {
  const { requests, floor } = state;
  const hold = goesOn ? state.hold : state.hold + 1;
  const held = goesOn ? state.held : [];
  return { phase: "held", holder, epoch: null, floor, held, hold, lapsed: false, revoked: 0, requests };
}

/** The state once its epoch was seen to be `epoch`; null when it cannot be. */
function see(state: LeaseState, epoch: number): LeaseState | null {
  if (state.epoch !== null) return state.epoch === epoch ? state : null;
  return epoch > state.floor ? { ...state, epoch, floor: epoch, held: [...state.held, epoch] } : null;
}

function stateOf({ phase, lapsed }: LeaseState): string {
  if (phase === "held") return lapsed ? "expired" : "granted";
  return phase;
}
