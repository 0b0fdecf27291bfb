import { createLeaseService } from "@rspp/lease/lease-service";
import type { SessionKey } from "@rspp/store/state-store";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkLinearizable, type Model, type Operation } from "./checker.ts";
import { carryOut } from "./lease-carry-out.ts";
import { type LeaseAnswer, type LeaseCall, leaseModel } from "./lease-model.ts";
import { memoryLeaseStore } from "./memory-lease-store.ts";

// The checker is checked: against a search through all orders, and against histories with planted violations.

type RegisterCall = { readonly put: number } | { readonly put?: never };
const register: Model<number, RegisterCall, number> = {
  initial: 0,
  step: (state, { put }, output) => {
    if (put !== undefined) return [put];
    return output === undefined || output === state ? [state] : [];
  },
  keyOf: String,
};

/** All orders, with any of the unknown ones left out. */
function bruteForce(history: readonly Operation<RegisterCall, number>[], state = 0): boolean {
  if (history.every(({ returned }) => returned === Number.POSITIVE_INFINITY)) return true;
  const firstAnswer = Math.min(...history.map(({ returned }) => returned));
  return history.some((one, i) => {
    if (one.called > firstAnswer) return false;
    const rest = history.filter((_, n) => n !== i);
    return register.step(state, one.input, one.output).some((next) => bruteForce(rest, next));
  });
}

const someOperation = fc.record({
  put: fc.option(fc.integer({ min: 1, max: 2 }), { nil: undefined }),
  read: fc.integer({ min: 0, max: 2 }),
  called: fc.integer({ min: 0, max: 12 }),
  lasts: fc.integer({ min: 1, max: 6 }),
  unknown: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
});

test("the checker finds an order exactly where a search through all orders does", () => {
  let accepted = 0;
  const counted = fc.property(fc.array(someOperation, { maxLength: 6 }), (drawn) => {
    const history = drawn.map(({ put, read, called, lasts, unknown }, i): Operation<RegisterCall, number> => {
      const input = put === undefined ? {} : { put };
      // No two events at one place.
      const returned = unknown ? Number.POSITIVE_INFINITY : (called + lasts) * 100 + 50 + i;
      return { client: i, input, output: unknown ? undefined : (put ?? read), called: called * 100 + i, returned };
    });
    const verdict = checkLinearizable(register, history);
    expect(verdict.kind).toBe(bruteForce(history) ? "linearizable" : "violation");
    if (verdict.kind === "linearizable") accepted++;
  });
  fc.assert(counted, { numRuns: 400 });
  expect(accepted).toBeGreaterThan(40);
  expect(accepted).toBeLessThan(360);
});

test("a search that takes too long says that it shows nothing", () => {
  const history = [{ client: 0, input: { put: 1 }, output: 1, called: 0, returned: 1 }];
  expect(checkLinearizable(register, history, 0).kind).toBe("undecided");
});

type Op = Operation<LeaseCall, LeaseAnswer>;
const session: SessionKey = { tenantId: "t", sessionId: "s" };

/** The shipped logic over a store in memory, one call after the other. */
function sequentialLease() {
  let now = 1_000_000;
  const store = memoryLeaseStore(3, () => now);
  const service = createLeaseService({ store, sign: ({ epoch }) => `${epoch}`, monoMs: () => now });
  const lapse = () =>
    store.update(session, "renew", ({ lease }) => {
      return { answer: null, ...(lease && !lease.revoked ? { lease: { ...lease, expiresWallMs: now - 1 } } : {}) };
    });
  return (call: LeaseCall): Promise<LeaseAnswer> => {
    now += 1;
    return carryOut(service, session, call, lapse);
  };
}

interface Drawn {
  readonly kind: LeaseCall["kind"];
  readonly holder: string;
  readonly to: string;
  /** Which of the epochs seen so far, newest first; most often the newest. */
  readonly back: number;
  readonly takeover: boolean;
  readonly expects: boolean;
  /** Sends the last keyed call again. */
  readonly again: boolean;
  readonly starts: number;
  readonly ends: number;
  readonly fate: "known" | "lost" | "never";
}

const holder = fc.constantFrom("a", "b", "c");
const drawnCalls: fc.Arbitrary<Drawn[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("grant", "renew", "rotate", "transfer", "revoke", "release", "get", "lapse"),
    holder,
    to: holder,
    back: fc.constantFrom(0, 0, 0, 0, 1, 2),
    takeover: fc.boolean(),
    expects: fc.boolean(),
    again: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    starts: fc.integer({ min: 0, max: 3 }),
    ends: fc.integer({ min: 0, max: 3 }),
    fate: fc.constantFrom("known", "known", "known", "known", "known", "known", "lost", "never"),
  }),
  { minLength: 6, maxLength: 24 },
);

function callOf(one: Drawn, i: number, epochs: readonly number[]): LeaseCall {
  const epoch = epochs.at(-1 - one.back) ?? epochs[0] ?? 0;
  const { holder: who, kind } = one;
  const key = `k${i}`;
  if (kind === "get" || kind === "lapse") return { kind };
  const expected = one.expects ? epoch : 0;
  if (kind === "grant" || epoch === 0) return { kind: "grant", holder: who, takeover: one.takeover, expected, key };
  if (kind === "revoke") return { kind, epoch };
  if (kind === "rotate") return { kind, holder: who, epoch, key };
  if (kind === "transfer") return { kind, holder: who, to: one.to === who ? `${who}2` : one.to, epoch, key };
  return { kind, holder: who, epoch };
}

/** Calls that take effect one after the other, told as if they had overlapped: linearizable by construction. */
async function truthful(drawn: readonly Drawn[]): Promise<Op[]> {
  const carriedOut = sequentialLease();
  const seen: { epoch: number; at: number }[] = [];
  const calls: LeaseCall[] = [];
  const history: Op[] = [];
  for (const [i, one] of drawn.entries()) {
    const point = i * 1_000 + 500;
    const called = point - one.starts * 1_000 - 100 + i / 100;
    const returned = one.fate === "known" ? point + one.ends * 1_000 + 100 + i / 100 : Number.POSITIVE_INFINITY;
    const before = one.again ? calls.findLast((call) => "key" in call) : undefined;
    // Only what had been told when the call was made can be named in it.
    const known = seen.filter(({ at }) => at < called).map(({ epoch }) => epoch);
    const call = before ?? callOf(one, i, known);
    calls.push(call);
    const output = one.fate === "never" ? undefined : await carriedOut(call);
    if (one.fate === "known" && output?.ok && output.epoch > 0 && call.kind !== "lapse") {
      seen.push({ epoch: output.epoch, at: returned });
    }
    history.push({ client: i, input: call, output: one.fate === "known" ? output : undefined, called, returned });
  }
  return history;
}

test("F-095 what the shipped lease logic answers, in any overlap and with answers lost, is accepted", async () => {
  await fc.assert(
    fc.asyncProperty(drawnCalls, async (drawn) => {
      const history = await truthful(drawn);
      expect(checkLinearizable(leaseModel, history)).toMatchObject({ kind: "linearizable" });
    }),
    { numRuns: 300 },
  );
});

describe("a planted violation is rejected", () => {
  const end = (history: readonly Op[]): number =>
    1_000 +
    Math.max(0, ...history.flatMap(({ called, returned }) => [called, Number.isFinite(returned) ? returned : 0]));
  const followedBy = (history: readonly Op[], ...more: readonly [LeaseCall, LeaseAnswer][]): Op[] => {
    const from = end(history);
    const added = more.map(([input, output], i): Op => {
      return { client: 99, input, output, called: from + i * 10, returned: from + i * 10 + 5 };
    });
    return [...history, ...added];
  };
  const issued = (history: readonly Op[]) =>
    history.flatMap(({ output, input }) => (output?.ok && input.kind !== "lapse" ? [output] : []));

  /** `plant` undefined where the history has no place for it. */
  async function rejects(
    plant: (history: readonly Op[], highest: number) => Op[] | undefined,
    allKnown = false,
  ): Promise<void> {
    let planted = 0;
    await fc.assert(
      fc.asyncProperty(drawnCalls, async (drawn) => {
        const history = await truthful(allKnown ? drawn.map((one) => ({ ...one, fate: "known" })) : drawn);
        const highest = Math.max(0, ...issued(history).map(({ epoch }) => epoch));
        const wrong = highest === 0 ? undefined : plant(history, highest);
        if (wrong === undefined) return;
        planted++;
        expect(checkLinearizable(leaseModel, wrong)).toMatchObject({ kind: "violation" });
      }),
      { numRuns: 40 },
    );
    expect(planted).toBeGreaterThan(10);
  }

  test("NF-027 two holders of one epoch", () =>
    rejects((history, highest) => {
      const one = issued(history).find(({ epoch, state }) => epoch === highest && state === "granted");
      if (one === undefined) return undefined;
      const at = history.findIndex(({ output }) => output?.ok && output.epoch === highest);
      const other: Op = { client: 98, input: { kind: "get" }, output: { ...one, holder: "x" }, called: 0, returned: 0 };
      const { called = 0, returned = 0 } = history[at] ?? {};
      return [...history, { ...other, called: called + 0.001, returned: returned + 0.001 }];
    }));

  test("an epoch that goes down, or comes twice", () =>
    rejects((history, highest) => {
      const lower = highest - (history.length % 2);
      const grant: LeaseCall = { kind: "grant", holder: "z", takeover: true, expected: 0, key: "planted" };
      return followedBy(history, [grant, { ok: true, epoch: lower, holder: "z", state: "granted" }]);
    }));

  test("a read of what was over when it began", () =>
    rejects((history, highest) => {
      const stale = issued(history).find(({ epoch }) => epoch < highest);
      return stale === undefined ? undefined : followedBy(history, [{ kind: "get" }, stale]);
    }));

  test("NF-027 a lease renewed after it was revoked", () =>
    rejects((history, highest) => {
      const next = highest + 1_000;
      const grant: LeaseCall = { kind: "grant", holder: "z", takeover: true, expected: 0, key: "planted" };
      const lease = { ok: true, epoch: next, holder: "z", state: "granted" } as const;
      const revoked = { ok: true, epoch: next + 1, holder: "", state: "revoked" } as const;
      const renew: LeaseCall = { kind: "renew", holder: "z", epoch: next };
      // Answers that were lost before may still come to pass, but give nobody this epoch back.
      return followedBy(history, [grant, lease], [{ kind: "revoke", epoch: next }, revoked], [renew, lease]);
    }));

  test("F-158 a repeat of one request that issues a second epoch", () =>
    rejects((history, highest) => {
      const key = "planted";
      const grant: LeaseCall = { kind: "grant", holder: "z", takeover: true, expected: 0, key };
      const first = { ok: true, epoch: highest + 1_000, holder: "z", state: "granted" } as const;
      const rotate: LeaseCall = { kind: "rotate", holder: "z", epoch: first.epoch, key: "planted rotation" };
      const rotated = { ...first, epoch: first.epoch + 1 };
      const again = { ...first, epoch: first.epoch + 2 };
      return followedBy(history, [grant, first], [rotate, rotated], [rotate, again]);
    }));

  test("a grant to a second holder while the first one's term runs", () =>
    rejects((history, highest) => {
      const lease = { ok: true, epoch: highest + 1_000, holder: "z", state: "granted" } as const;
      const grant: LeaseCall = { kind: "grant", holder: "z", takeover: true, expected: 0, key: "planted" };
      const second: LeaseCall = { kind: "grant", holder: "y", takeover: false, expected: 0, key: "second" };
      return followedBy(history, [grant, lease], [second, { ...lease, epoch: lease.epoch + 1, holder: "y" }]);
    }, true));
});
