import type { TransportIngress } from "@rspp/ports/transport";
import { expect, test } from "vitest";
import { endAtOnce } from "./link-accept.ts";
import type { LinkOpened, TakenOver } from "./link-session-types.ts";

function late(taken: Partial<LinkOpened>) {
  const heard: string[] = [];
  const session = { receive: (message: TransportIngress) => void heard.push(`${message.kind} signal`) };
  endAtOnce({ session, onGone: (reason) => heard.push(`gone ${reason}`), ...taken }, 3);
  return heard;
}

test("F-096 a takeover that was opened too late is left to the next runtime: it ends there without a word, a new session ends for good", () => {
  const takeover: TakenOver = { state: "found", stateVersion: 4, audioThrough: 9, controlThrough: 2, closedTurn: 0 };
  let released = 0;
  expect(late({ takeover, onHandedOver: () => void released++ })).toEqual(["gone migration"]);
  expect(released).toBe(1);
  expect(late({ onHandedOver: () => void released++ })).toEqual(["control signal", "control signal", "gone timeout"]);
  expect(released).toBe(1);
});
