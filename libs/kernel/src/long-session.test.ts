/** A session of many hours of virtual time: what it keeps does not grow with what has been (NF-004). */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { MonoNs } from "@rspp/base/brand";
import { expect, test } from "vitest";
import { snapshotState } from "./snapshot.ts";
import { assistantGraph, KernelHarness, testConfig } from "./testing/harness.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const TURNS = 1_200;
const WARM = 200;
const SAMPLES = 10;
const HEAP_GROWTH_MIB_MAX = 4;

test("NF-004 1,200 turns in one call, some cut, some failed: state, timers and heap are flat after the first 200", () => {
  const authority = { epoch: 1, incarnation: "store-1", deadlineNs: Number.MAX_SAFE_INTEGER as MonoNs };
  const h = new KernelHarness(testConfig(assistantGraph(), { authority }));
  h.connect();
  const state: number[] = [];
  const timers: number[] = [];
  const heapMib: number[] = [];
  let closed = 0;
  for (let turn = 1; turn <= TURNS; turn++) {
    h.utter(`question ${turn} of a long conversation`);
    if (turn % 7 === 0) {
      h.feed(h.textChunk(h.open("llm"), "This is cut. "));
      h.feed(h.control("cancel", { turn, reason: "user_cancel" }));
      h.fenceAck(turn, 0);
    } else {
      h.reply("A short answer. ");
      h.deliver(turn, "accepted", 0);
      h.deliver(turn, "started", 0);
      h.deliver(turn, "completed", 320_000);
    }
    h.advance(20_000);
    closed += h.signals("close").length;
    h.log.length = 0;
    h.journal.length = 0;
    if (turn % ((TURNS - WARM) / SAMPLES) !== 0) continue;
    collect();
    state.push(snapshotState(h.state).length);
    timers.push(h.timers.size);
    heapMib.push(process.memoryUsage().heapUsed / 2 ** 20);
  }
  expect(closed).toBe(TURNS);
  const after = WARM / ((TURNS - WARM) / SAMPLES);
  const flat = state.slice(after);
  // Numbers of turns and sequences grow by a digit; nothing else does.
  expect(Math.max(...flat)).toBeLessThan(1.03 * Math.min(...flat));
  expect(Math.max(...timers)).toBeLessThanOrEqual(4);
  const heap = heapMib.slice(after);
  expect((heap.at(-1) ?? 0) - (heap[0] ?? 0)).toBeLessThan(HEAP_GROWTH_MIB_MAX);
});
