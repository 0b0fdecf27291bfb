/** The platform a scripted caller calls: everything in this process and in memory, in virtual or real time. */
import { type MonoNs, msToNs } from "@rspp/base/brand";
import { createSystemClock } from "@rspp/host/system-clock";
import type { Clock } from "@rspp/ports/clock";
import type { NodeHostPort } from "@rspp/ports/node-host";
import type { VadPort } from "@rspp/ports/vad";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { createProviderGateway, type ProviderGateway } from "@rspp/provider-gateway/gateway";
import { createProviders } from "@rspp/provider-gateway/providers";
import { toolAccessOf } from "@rspp/provider-gateway/tools/access";
import { vendorsOf } from "@rspp/provider-gateway/vendors/vendors";
import { createVirtualClock, runFast } from "@rspp/runtime/clock/virtual-clock";
import { createRuntime, type Runtime } from "@rspp/runtime/runtime";
import { createMemoryStore, type MemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool, type Spool } from "@rspp/runtime/spool/spool";
import { createVadHost } from "@rspp/runtime/vad/vad";
import type { ScriptedTool } from "@rspp/spec/test-script/script";
import { createReplyTimes, type ReplyTimes } from "./reply-times.ts";
import { createScriptedTools, withCalls } from "./scripted-tools.ts";

export interface Stage {
  readonly clock: Clock;
  readonly store: MemoryStore;
  readonly spool: Spool;
  readonly gateway: ProviderGateway;
  readonly runtime: Runtime;
  /** Arguments of every call of a tool, as JSON, by invocation. */
  readonly toolCalls: ReadonlyMap<string, string>;
  readonly replies: ReplyTimes;
  /** False when `maxMs` of the clock's time have passed first. */
  until(done: () => boolean, maxMs: number): Promise<boolean>;
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

export interface StageOptions {
  readonly time: "virtual" | "real";
  /** Speech is a tone: loud is speech. Else voice activity is judged as in service. */
  readonly tones: boolean;
  readonly tools: Readonly<Record<string, ScriptedTool>>;
  /** Where custom nodes run; stays open. */
  readonly nodes: NodeHostPort | null;
}

/** The same in every run, so that recordings in virtual time are the same too. */
const WALL_ORIGIN_MS = 1_700_000_000_000;
const POLL_MS = 5;
const CLOSE_MS = 60_000;

export async function openStage({ time, tones, tools, nodes }: StageOptions): Promise<Stage> {
  const virtual = time === "virtual" ? createVirtualClock({ wallOriginMs: WALL_ORIGIN_MS }) : null;
  const clock: Clock = virtual ?? createSystemClock();
  const store = createMemoryStore();
  const spool = createSpool({ store, clock });
  const toolCalls = new Map<string, string>();
  const shipped = createProviders({
    clock,
    vendors: await vendorsOf(process.env),
    tools: toolAccessOf(process.env),
  });
  const providers: ManagedProvider[] = [...shipped, createScriptedTools({ clock, tools })];
  const replies = createReplyTimes();
  const noted = providers.map((one) => replies.listen(withCalls(one, toolCalls)));
  const gateway = createProviderGateway({ clock, providers: noted });
  const vad = tones ? loudIsSpeech() : await createVadHost({ silero: "auto", clock });
  const runtime = createRuntime({ clock, providers: gateway, vad, spool, ...(nodes === null ? {} : { nodes }) });
  // Programs that are slow to start would be measured with the first turn.
  if (time === "real") await gateway.warm();
  const until = async (done: () => boolean, maxMs: number): Promise<boolean> => {
    const maxNs = (clock.nowNs() + msToNs(maxMs)) as MonoNs;
    if (virtual !== null) return (await runFast(virtual, { until: done, maxNs })) === "done";
    return polled(clock, done, maxNs);
  };
  const closing = async (work: Promise<unknown>): Promise<void> => {
    let over = false;
    void work.finally(() => {
      over = true;
    });
    await until(() => over, CLOSE_MS);
  };
  return {
    clock,
    store,
    spool,
    gateway,
    runtime,
    toolCalls,
    replies,
    until,
    async pass(ms) {
      let over = false;
      clock.timerAt((clock.nowNs() + msToNs(ms)) as MonoNs, () => {
        over = true;
      });
      await until(() => over, ms + 1_000);
    },
    async close() {
      await closing(runtime.close());
      await closing(spool.close());
      await gateway.close();
      await vad.close();
    },
  };
}

function polled(clock: Clock, done: () => boolean, maxNs: MonoNs): Promise<boolean> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (done()) return resolve(true);
      if (clock.nowNs() >= maxNs) return resolve(false);
      clock.timerAt((clock.nowNs() + msToNs(POLL_MS)) as MonoNs, look);
    };
    look();
  });
}

/** For the tone that stands for a simulated recogniser's speech. */
const LOUD = 4_000;

function loudIsSpeech(): VadPort {
  return {
    name: "level",
    openSession: () => ({
      push(frame, onResult) {
        const samples = new Int16Array(frame.slice().buffer);
        const speech = samples.some((value) => Math.abs(value) > LOUD);
        onResult({ speech, probability: speech ? 1 : 0 });
      },
      reset: () => {},
      close: () => {},
    }),
    close: () => {},
  };
}
