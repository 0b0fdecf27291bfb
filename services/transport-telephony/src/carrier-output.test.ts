import type { TransportIngress } from "@rspp/ports/transport";
import { AgentLine } from "@rspp/transport/agent-line";
import { createReceiverGate } from "@rspp/transport/receiver-gate";
import { HandClock } from "@rspp/transport/testing/hand-clock";
import { mediaOf } from "@rspp/transport/testing/media";
import { describe, expect, test } from "vitest";
import { TELEPHONE_FORMAT } from "./call.ts";
import { CarrierOutput } from "./carrier-output.ts";

/** A line to a carrier that is played by hand. */
function rig(leadMs = 300) {
  const clock = new HandClock();
  const said: TransportIngress[] = [];
  const out: string[] = [];
  const gate = createReceiverGate(1);
  const fenced = (turn: number, generation: number) => gate.fenced(turn, generation);
  const carrier = {
    media: (payload: Uint8Array) => void out.push(`media ${payload.length}`),
    mark: (name: string) => void out.push(name),
    clear: () => void out.push("clear"),
  };
  const output: CarrierOutput = new CarrierOutput({
    clock,
    agent: () => line,
    leadMs,
    markEveryMs: 100,
    carrier: () => carrier,
  });
  const line: AgentLine = new AgentLine({
    clock,
    gate,
    format: TELEPHONE_FORMAT,
    deliver: (message) => void said.push(message),
    send: (media) => output.push(media),
    cut: (is) => output.cut(is),
    flush: (fence, flush, cut) => output.flush(fence, flush, cut, fenced),
  });
  const play = (turn: number, count: number, end = true) => {
    for (const media of mediaOf(turn, count, { end, format: TELEPHONE_FORMAT })) line.media(media);
  };
  const fence = (turn: number, all = true) =>
    line.fence({ kind: "fence", epoch: 1, turn, generation: 1, all, reason: "barge_in" });
  const marks = () => out.filter((name) => /^\d/.test(name));
  const reports = () => said.flatMap((m) => (m.kind === "delivery" ? [`${m.turn} ${m.state} ${m.playedUs}`] : []));
  const acks = () => said.flatMap((m) => (m.kind === "fence_ack" ? [[m.turn, m.playedUs, m.flushed]] : []));
  return { clock, output, line, play, fence, out, marks, reports, acks };
}

describe("the agent's audio at a carrier", () => {
  test("F-039 F-085 marks tell what was heard: the first frame, each stretch, and the end", () => {
    const { clock, output, play, marks, reports } = rig();
    play(1, 25);
    clock.pass(1_000);
    expect(marks()).toEqual(["1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.0.5", "1.0.6"]);
    for (const name of marks()) output.marked(name);
    const heard = [20_000, 120_000, 220_000, 320_000, 420_000].slice(1).map((us) => `1 progress ${us}`);
    expect(reports()).toEqual(["1 accepted 0", "1 started 0", ...heard, "1 completed 500000"]);
    expect(output.quiet()).toBe(true);
  });

  test("F-033 F-039 a barge-in clears the carrier: marks that come back after it were not heard", () => {
    const { clock, output, play, fence, out, marks, reports, acks } = rig();
    play(1, 100, false);
    clock.pass(20);
    output.marked("1.0.1");
    clock.pass(50);
    fence(1);
    expect(out.at(-1)).toBe("clear");
    // 20 ms by the mark, 50 ms by the clock; all else of the hundred frames was dropped, here or there.
    expect(acks()).toEqual([[1, 70_000, 97]]);
    const before = marks();
    for (const name of before.slice(1)) output.marked(name);
    expect(output.counts).toMatchObject({ marksBack: 1, marksCancelled: before.length - 1, clears: 1 });
    expect(reports()).toEqual(["1 accepted 0", "1 started 0", "1 cancelled 70000"]);
    clock.pass(5_000);
    expect(out.filter((name) => name === "clear")).toHaveLength(1);
    expect(out.at(-1)).toBe("clear");
  });

  test("between two marks the clock goes no further than the next one", () => {
    const { clock, output, play, fence, acks } = rig();
    play(1, 100, false);
    output.marked("1.0.1");
    clock.pass(2_000);
    fence(1);
    expect(acks()[0]?.[1]).toBe(120_000);
  });

  test("F-033 what was not fenced is given again after a clear, in its order", () => {
    const { clock, output, play, fence, out, acks } = rig(2_000);
    play(1, 3);
    play(2, 3);
    fence(1, false);
    expect(acks()).toEqual([[1, 0, 3]]);
    const after = out.slice(out.indexOf("clear") + 1);
    expect(after.filter((name) => name.startsWith("media"))).toHaveLength(3);
    clock.pass(1_000);
    for (const name of after.filter((found) => found.startsWith("2."))) output.marked(name);
    expect(output.quiet()).toBe(true);
  });

  test("nothing is cleared where nothing of it is there; the next turn is not touched", () => {
    const { play, fence, out, acks } = rig();
    fence(1);
    expect([out, acks()]).toEqual([[], [[1, 0, 0]]]);
    play(2, 2);
    expect(out.filter((name) => name === "clear")).toEqual([]);
  });

  test("marks that nobody sent change nothing; one that is missing is made good by the next", () => {
    const { clock, output, play, marks, reports } = rig();
    play(1, 12);
    clock.pass(1_000);
    output.marked("9.0.9");
    expect(output.counts.marksUnknown).toBe(1);
    output.marked(marks().at(-1) ?? "");
    expect(reports().at(-1)).toBe("1 completed 240000");
  });

  test("F-091 what the carrier had when its stream was cut is given again to the next", () => {
    const { clock, output, play, out, marks, reports } = rig();
    play(1, 10);
    output.marked("1.0.1");
    output.away();
    out.length = 0;
    clock.pass(3_000);
    expect(out).toEqual([]);
    output.back();
    clock.pass(3_000);
    expect(out.filter((name) => name.startsWith("media"))).toHaveLength(9);
    for (const name of marks()) output.marked(name);
    expect(reports().at(-1)).toBe("1 completed 200000");
  });
});
