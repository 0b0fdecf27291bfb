/** P6, the kernel's part: heap per session, idle and talking. */
import { assistantGraph, KernelHarness } from "@rspp/kernel/testing/harness";
import { type Bench, type BenchResult, collectGarbage, row } from "./bench.ts";
import { BareShell, benchConfig } from "./graphs.ts";

const SESSIONS = 2_000;
const TALKING = 500;
const ROUNDS = 3;
const IDLE_BAR_KIB = 64;
const TALKING_BAR_KIB = 400;

/** KiB of heap per thing that `make` builds, all of them kept alive meanwhile. */
function heapPerItem(count: number, make: (index: number) => unknown): number {
  const kept: unknown[] = [];
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < count; i++) kept.push(make(i));
  collectGarbage();
  const grown = process.memoryUsage().heapUsed - before;
  if (kept.length !== count) throw new Error("sessions were lost while they were measured");
  return grown / count / 1_024;
}

/** Config and graph are shared over sessions of one pipeline, as they are in the runtime. */
const config = benchConfig(assistantGraph());

function idle(): unknown {
  const shell = new BareShell(config, "step");
  for (let i = 0; i < 100; i++) shell.listen();
  return shell.state;
}

/** A session in its second turn: reply generated, 10 s of it queued behind the pacing, a conversation kept. */
function talking(): unknown {
  const h = new KernelHarness(config);
  h.keepLog = false;
  h.connect();
  h.utter("what is the weather like today");
  h.reply("It is fine today. The sun shines over the hills and there is hardly any wind.", 5);
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(2_000);
  h.deliver(1, "completed", 400_000);
  h.utter("tell me a long story then");
  h.reply("Once upon a time there was a fox. It lived in a wood. ".repeat(10), 20);
  if (h.state.turns.length !== 1) throw new Error("the session is not talking");
  return h.state;
}

export const p6Kernel: Bench = {
  name: "P6-kernel",
  title: "Kernel state per session",
  run(): BenchResult {
    const plain: number[] = [];
    const idles: number[] = [];
    const talks: number[] = [];
    idle();
    talking();
    for (let round = 0; round < ROUNDS; round++) {
      plain.push(heapPerItem(SESSIONS, (i) => JSON.parse(`{"id":${i},"fields":{"a":1,"b":"x"}}`)));
      idles.push(heapPerItem(SESSIONS, idle));
      talks.push(heapPerItem(TALKING, talking));
    }
    return {
      name: "P6-kernel",
      title: p6Kernel.title,
      topology: `one process; ${SESSIONS} idle and ${TALKING} talking sessions kept at once, voice-assistant graph`,
      compared: "a small plain object each, measured alike",
      rows: [
        row("plain object", "KiB", plain),
        row("idle, after 2 s of silence", "KiB/session", idles, IDLE_BAR_KIB),
        row("talking, 10 s of reply queued", "KiB/session", talks, TALKING_BAR_KIB),
      ],
      notes: ["heap growth after a forced collection; payload bytes live in the shell and are not in it"],
    };
  },
};
