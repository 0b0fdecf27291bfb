import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type CauseKind,
  orderCauses,
  TERMINAL_RANK,
  TURN_PHASES,
  TURN_TRIGGERS,
  type TurnPhase,
  turnClosed,
  turnTransition,
} from "./turn-lifecycle.ts";

/** kernel.md §2 as literals: phase, trigger, delivery settled (null: either) -> case, signals, next. */
const legal: readonly [string, string, boolean | null, string, string, string][] = [
  ["idle", "turn_open_proposed", null, "T1", "", "opening"],
  ["idle", "stale_event", null, "T12", "stale_epoch_reject", "idle"],
  ["opening", "admission_defer", null, "T2", "defer", "idle"],
  ["opening", "admission_reject", null, "T2", "reject", "idle"],
  ["opening", "epoch_stale", null, "T3", "stale_epoch_reject", "idle"],
  ["opening", "authority_revoked", null, "T4", "deauthorized_drain", "idle"],
  ["opening", "plan_resolved", null, "T5", "turn_open", "active"],
  ["opening", "plan_failed_defer", null, "T5a", "defer", "idle"],
  ["opening", "plan_failed_reject", null, "T5a", "reject", "idle"],
  ["active", "generation_complete", null, "T6", "commit close", "closed_commit"],
  ["active", "cancel_accepted", null, "T7", "abort close", "closed_abort"],
  ["active", "authority_lost", null, "T8", "deauthorized_drain abort close", "closed_abort"],
  ["active", "evidence_exhausted", null, "T9", "abort close", "closed_abort"],
  ["active", "failure", null, "T10", "abort close", "closed_abort"],
  ["active", "stale_event", null, "T12", "stale_epoch_reject", "active"],
  ["closed_commit", "late_event", null, "T11", "", "closed_commit"],
  ["closed_commit", "stale_event", null, "T12", "stale_epoch_reject", "closed_commit"],
  ["closed_commit", "cancel_accepted", false, "T13", "playback_cancelled", "closed_commit"],
  ["closed_abort", "late_event", null, "T11", "", "closed_abort"],
  ["closed_abort", "stale_event", null, "T12", "stale_epoch_reject", "closed_abort"],
];

describe("F-139 the turn truth table", () => {
  for (const phase of TURN_PHASES) {
    for (const trigger of TURN_TRIGGERS) {
      for (const settled of [false, true]) {
        const row = legal.find((r) => r[0] === phase && r[1] === trigger && (r[2] === null || r[2] === settled));
        const title = row === undefined ? "is refused" : `is ${row[3]}`;
        test(`F-139 ${trigger} in ${phase}, delivery ${settled ? "settled" : "unsettled"}, ${title}`, () => {
          const move = turnTransition(phase, trigger, settled);
          if (row === undefined) {
            expect(move).toEqual({ ok: false, refusal: expect.stringContaining(`${trigger} is illegal in ${phase}`) });
            return;
          }
          const [, , , turnCase, signals, next] = row;
          expect(move).toEqual({ ok: true, case: turnCase, signals: signals.split(" ").filter(Boolean), next });
        });
      }
    }
  }

  test("F-139 every case from T1 to T13 stands in the table", () => {
    expect([...new Set(legal.map((r) => r[3]))].sort()).toEqual(
      ["T1", "T10", "T11", "T12", "T13", "T2", "T3", "T4", "T5", "T5a", "T6", "T7", "T8", "T9"].sort(),
    );
  });
});

describe("F-139 whatever is thrown at a turn", () => {
  test("F-139 it has turn_open, one terminal, then close; nothing is reopened and refusals change nothing", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...TURN_TRIGGERS), fc.boolean()), { maxLength: 60 }), (moves) => {
        let phase: TurnPhase = "idle";
        const seen: string[] = [];
        for (const [trigger, settled] of moves) {
          const move = turnTransition(phase, trigger, settled);
          if (!move.ok) continue;
          if (turnClosed(phase)) expect(turnClosed(move.next)).toBe(true);
          seen.push(...move.signals);
          phase = move.next;
        }
        const outward = seen.filter((s) => ["turn_open", "commit", "abort", "close"].includes(s));
        expect(["", "turn_open", "turn_open commit close", "turn_open abort close"]).toContain(outward.join(" "));
      }),
    );
  });

  test("F-141 a refused request never emits abort or close", () => {
    for (const trigger of TURN_TRIGGERS) {
      const move = turnTransition("opening", trigger, false);
      if (move.ok) expect(move.signals).not.toEqual(expect.arrayContaining([expect.stringMatching(/abort|close/)]));
    }
  });
});

describe("F-140 ties inside a batch", () => {
  const order: CauseKind[] = [
    "authority_lost",
    "cancel",
    "budget_terminate",
    "failure",
    "disconnect",
    "generation_complete",
  ];

  for (const [i, winner] of order.entries()) {
    for (const loser of order.slice(i + 1)) {
      test(`F-140 ${winner} beats ${loser}, whichever came first`, () => {
        for (const [a, b] of [
          [1, 2],
          [2, 1],
        ] as const) {
          const causes = [
            { kind: loser, seq: a },
            { kind: winner, seq: b },
          ];
          expect(orderCauses(causes)[0]?.kind).toBe(winner);
        }
      });
    }
  }

  test("F-140 equal rank goes by sequence, equal sequence by the order given", () => {
    const causes = [
      { kind: "cancel" as const, seq: 3, tag: "late" },
      { kind: "cancel" as const, seq: 1, tag: "first" },
      { kind: "cancel" as const, seq: 1, tag: "second" },
    ];
    expect(orderCauses(causes).map((c) => c.tag)).toEqual(["first", "second", "late"]);
    expect(causes[0]?.tag).toBe("late");
  });

  test("F-140 any order of arrival gives the same order of causes", () => {
    const cause = fc.record({ kind: fc.constantFrom(...order), seq: fc.nat(1000) });
    fc.assert(
      fc.property(
        fc.uniqueArray(cause, { selector: (c) => c.seq, maxLength: 12 }),
        fc.infiniteStream(fc.nat()),
        (causes, random) => {
          const shuffled = causes
            .map((c) => ({ c, k: random.next().value as number }))
            .sort((a, b) => a.k - b.k)
            .map((x) => x.c);
          expect(orderCauses(shuffled)).toEqual(orderCauses(causes));
          const ranks = orderCauses(causes).map((c) => TERMINAL_RANK[c.kind]);
          expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
        },
      ),
    );
  });
});
