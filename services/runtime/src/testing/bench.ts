/** A runtime with the kernel under a virtual clock, for tests. */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { assistantGraph, testConfig } from "@rspp/kernel/testing/harness";
import { createVirtualClock, runFast, type VirtualClock } from "../clock/virtual-clock.ts";
import { createRuntime, type RuntimeOptions, type RuntimeSession } from "../runtime.ts";
import { createMemoryStore, type MemoryStore } from "../spool/memory-store.ts";
import { createSpool, type Spool } from "../spool/spool.ts";
import { FakeTransport, fakeProviders, fakeVad } from "./fakes.ts";

export interface Bench {
  clock: VirtualClock;
  store: MemoryStore;
  spool: Spool;
  runtime: ReturnType<typeof createRuntime>;
  providers: ReturnType<typeof fakeProviders>;
  open(
    over?: Partial<SessionConfig>,
    texts?: Record<number, string>,
    traceparent?: string,
  ): { session: RuntimeSession; line: FakeTransport };
  until(done: () => boolean): Promise<void>;
  pass(forMs: number): Promise<void>;
  talk(line: FakeTransport, speechFrames: number, silentFrames: number): Promise<void>;
}

export function bench(options: Partial<RuntimeOptions> & { answer?: string } = {}): Bench {
  const clock = createVirtualClock({ wallOriginMs: 1_700_000_000_000 });
  const store = createMemoryStore();
  const spool = createSpool({ store, clock });
  const providers = fakeProviders(clock, { answer: options.answer ?? "Hi there, this is a long answer for you." });
  const runtime = createRuntime({ clock, providers, vad: fakeVad(), spool, ...options });
  const run = async (until: () => boolean, forMs: number): Promise<void> => {
    await runFast(clock, { until, maxNs: asMonoNs(clock.nowNs() + msToNs(forMs)) });
  };
  const bench: Bench = {
    clock,
    store,
    spool,
    runtime,
    providers,
    open(over = {}, texts = {}, traceparent) {
      const line = new FakeTransport(clock);
      const config = testConfig(assistantGraph(), over);
      const trace = traceparent === undefined ? {} : { traceparent };
      const opened = runtime.openSession({ config, transport: line, keepJournal: true, texts, ...trace });
      if (!opened.ok) throw new Error(opened.error.detail);
      line.session = opened.value;
      line.control("connected");
      return { session: opened.value, line };
    },
    async until(done) {
      await run(done, 120_000);
      if (!done()) throw new Error("the awaited state did not come within two minutes");
    },
    async pass(forMs) {
      let over = false;
      clock.timerAt(asMonoNs(clock.nowNs() + msToNs(forMs)), () => {
        over = true;
      });
      await run(() => over, forMs + 1);
    },
    async talk(line, speechFrames, silentFrames) {
      for (let i = 0; i < speechFrames + silentFrames; i++) {
        line.frame(i < speechFrames);
        await bench.pass(20);
      }
    },
  };
  return bench;
}
