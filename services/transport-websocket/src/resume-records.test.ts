import { asMonoNs, msToNs } from "@rspp/base/brand";
import { limits as protocolLimits } from "@rspp/protocol/limits";
import { replayAcked, replayFence } from "@rspp/protocol/reattach-server";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ResumeRecords } from "./resume-records.ts";

const commands = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({ do: fc.constant("keep" as const), size: fc.constantFrom(0, 40, 330, 333, 9_000) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("ack" as const), back: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("fence" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1_000, 20_000) }) },
  ),
  { maxLength: 150 },
);

test("F-091 F-158 what is kept for a client that comes back is what was sent, though its memory is filled anew", () => {
  fc.assert(
    fc.property(commands, (all) => {
      const records = new ResumeRecords("s", "k");
      let naive: { sequence: number; turn: number; atMs: number; record: Uint8Array }[] = [];
      let nowMs = 0;
      let turn = 1;
      for (const [i, command] of all.entries()) {
        if (command.do === "keep") {
          // Four bytes of header before it, as a frame has that was written to the socket.
          const bytes = new Uint8Array(4 + command.size).fill(i);
          const sequence = records.keep(bytes, 4, turn, 0, asMonoNs(msToNs(nowMs)));
          expect(sequence).toBe(records.next() - 1);
          naive.push({ sequence, turn, atMs: nowMs, record: bytes.slice(4) });
          naive = naive.filter(({ atMs }) => nowMs - atMs <= protocolLimits.REPLAY_AGE_MS);
          bytes.fill(255);
        } else if (command.do === "ack") {
          const data = Math.max(0, records.next() - 1 - command.back);
          replayAcked(records.state, { control: 0, telemetry: 0, data });
          naive = naive.filter(({ sequence }) => sequence > data);
        } else if (command.do === "fence") {
          replayFence(records.state, { turn, generation: 1, olderTurns: true });
          naive = [];
          turn += 1;
        } else nowMs += command.ms;
        const kept = records.since(0).map(({ sequence, turn: of, record }) => [sequence, of, ...record]);
        expect(kept).toEqual(naive.map(({ sequence, turn: of, record }) => [sequence, of, ...record]));
        expect(records.state.bytes).toBe(naive.reduce((sum, { record }) => sum + record.length, 0));
      }
    }),
    { numRuns: 50 },
  );
});

test("what a resume hands out stays as it is, whatever is kept after it", () => {
  const records = new ResumeRecords("s", "k");
  const now = asMonoNs(0);
  for (let i = 1; i <= 3; i++) records.keep(new Uint8Array(330).fill(i), 4, null, 0, now);
  const handed = records.since(1);
  replayAcked(records.state, { control: 0, telemetry: 0, data: 3 });
  for (let i = 0; i < 8; i++) records.keep(new Uint8Array(330).fill(99), 4, null, 0, now);
  expect(handed.map(({ record }) => [record.length, record[0], record[325]])).toEqual([
    [326, 2, 2],
    [326, 3, 3],
  ]);
});
