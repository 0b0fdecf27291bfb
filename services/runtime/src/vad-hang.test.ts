import type { VadPort } from "@rspp/ports/vad";
import { expect, test } from "vitest";
import { bench } from "./testing/bench.ts";
import { fakeVad } from "./testing/fakes.ts";

test("F-123 a detector that never answered one frame is asked again after its budget: the caller is heard, the late answer is not", async () => {
  const inner = fakeVad();
  const late: (() => void)[] = [];
  const closed: number[] = [];
  let hang = false;
  let opened = 0;
  const vad: VadPort = {
    ...inner,
    openSession() {
      opened += 1;
      const number = opened;
      const session = inner.openSession();
      return {
        ...session,
        push(frame, onResult) {
          if (!hang) return session.push(frame, onResult);
          hang = false;
          late.push(() => onResult({ speech: true, probability: 1 }));
        },
        close: () => void closed.push(number),
      };
    },
  };
  const b = bench({ vad });
  // A frame that is never answered would otherwise stop the virtual clock for good.
  b.clock.hold = () => () => {};
  const { session, line } = b.open();
  await b.talk(line, 2, 2);
  hang = true;
  await b.talk(line, 1, 120);
  expect(late).toHaveLength(1);
  for (const answer of late) answer();
  await b.talk(line, 20, 20);
  await b.until(() => line.sent.some((m) => m.kind === "media" && m.end));
  expect([opened, closed]).toEqual([2, [1]]);
  expect(session.stats().phase).toBe("active");
});
