import { asMonoNs } from "@rspp/base/brand";
import { describe, expect, test } from "vitest";
import {
  SESSION_TRIGGERS,
  type SessionState,
  sessionCreate,
  sessionReconnecting,
  sessionTransition,
} from "./session-lifecycle.ts";

const now = asMonoNs(7_000);
const before = asMonoNs(3_000);

const states: Readonly<Record<"connecting" | "active" | "reconnecting" | "draining" | "ended", SessionState>> = {
  connecting: { phase: "connecting", reconnectingSinceNs: null },
  active: { phase: "active", reconnectingSinceNs: null },
  reconnecting: { phase: "active", reconnectingSinceNs: before },
  draining: { phase: "draining", reconnectingSinceNs: null },
  ended: { phase: "ended", reconnectingSinceNs: null },
};

const legal: readonly [string, string, SessionState][] = [
  ["connecting", "connected", { phase: "active", reconnectingSinceNs: null }],
  ["active", "reconnecting", { phase: "active", reconnectingSinceNs: now }],
  ["active", "drain", { phase: "draining", reconnectingSinceNs: null }],
  ["reconnecting", "reconnected", { phase: "active", reconnectingSinceNs: null }],
  ["reconnecting", "reconnect_timeout", { phase: "draining", reconnectingSinceNs: null }],
  ["reconnecting", "drain", { phase: "draining", reconnectingSinceNs: null }],
  ["draining", "end", { phase: "ended", reconnectingSinceNs: null }],
];

describe("F-138 CONNECTING -> ACTIVE -> DRAINING -> ENDED", () => {
  test("F-138 a session starts connecting", () => {
    expect(sessionCreate()).toEqual(states.connecting);
    expect(sessionReconnecting(sessionCreate())).toBe(false);
  });

  for (const [name, state] of Object.entries(states)) {
    for (const trigger of SESSION_TRIGGERS) {
      const row = legal.find((r) => r[0] === name && r[1] === trigger);
      test(`F-138 ${trigger} while ${name} is ${row === undefined ? "refused and changes nothing" : "legal"}`, () => {
        const s = structuredClone(state);
        const move = sessionTransition(s, trigger, now);
        expect(s).toEqual(row === undefined ? state : row[2]);
        if (row === undefined)
          expect(move).toEqual({ ok: false, refusal: expect.stringContaining(`${trigger} is illegal`) });
        else expect(move).toEqual({ ok: true, from: state.phase, to: row[2].phase });
      });
    }
  }
});
