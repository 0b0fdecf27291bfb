/** Everything of RSPP in one process, wired by hand. */
import { join } from "node:path";
import { type MonoNs, msToNs } from "@rspp/base/brand";
import { createSystemClock } from "@rspp/host/system-clock";
import type { Clock } from "@rspp/ports/clock";
import type { NodeHostPort } from "@rspp/ports/node-host";
import { createProviderGateway, type ProviderGateway } from "@rspp/provider-gateway/gateway";
import { createProviders } from "@rspp/provider-gateway/providers";
import { toolAccessOf } from "@rspp/provider-gateway/tools/access";
import { vendorsOf } from "@rspp/provider-gateway/vendors/vendors";
import { createVirtualClock, runFast, type VirtualClock } from "@rspp/runtime/clock/virtual-clock";
import { type Logger, silentLogger } from "@rspp/runtime/logger";
import { createRuntime, type Runtime } from "@rspp/runtime/runtime";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { createSpool, type Spool } from "@rspp/runtime/spool/spool";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { createVadHost, type VadHost } from "@rspp/runtime/vad/vad";
import { startWatchdog, type Watchdog } from "@rspp/runtime/watchdog";
import { pino } from "pino";
import { InputError } from "./errors.ts";
import { type LocalLease, openLocalLease } from "./local-lease.ts";

export interface PlatformOptions {
  /** Spool, published pipelines, lease incarnation. */
  dataDir: string;
  /** As fast as possible under a virtual clock instead of real time. */
  fast: boolean;
  silero?: "auto" | "off";
  /** Where custom nodes run; closed with the platform. */
  nodes?: NodeHostPort | null;
  logger?: Logger;
}

export interface Platform {
  clock: Clock;
  gateway: ProviderGateway;
  vad: VadHost;
  spool: Spool;
  store: SpoolStore;
  runtime: Runtime;
  lease: LocalLease;
  /** Ends the process when its event loop hangs (`kernel.md` §1). Null in `fast`, where no loop keeps real time. */
  watchdog: Watchdog | null;
  /** Waits until `until` holds; false when `maxMs` of the clock's time have passed first. */
  run(until: () => boolean, maxMs: number): Promise<boolean>;
  close(): Promise<void>;
}

/** @throws InputError when the data directory cannot be used. */
export async function openPlatform(options: PlatformOptions): Promise<Platform> {
  const virtual = options.fast ? createVirtualClock({ wallOriginMs: Date.now() }) : null;
  const clock: Clock = virtual ?? createSystemClock();
  const opened = openNodeStore(join(options.dataDir, "spool"));
  if (!opened.ok) throw new InputError(`${opened.error.detail}\n   help: use another folder with --data DIR`);
  const store = opened.value;
  const spool = createSpool({ store, clock });
  const tools = toolAccessOf(process.env);
  const vendors = await vendorsOf(process.env);
  const gateway = createProviderGateway({ clock, providers: createProviders({ clock, vendors, tools }) });
  const [vad, lease] = await Promise.all([
    createVadHost({ silero: options.silero ?? "auto", clock }),
    openLocalLease(options.dataDir, clock),
    gateway.warm(),
  ]);
  const runtime = createRuntime({
    clock,
    providers: gateway,
    vad,
    spool,
    logger: options.logger ?? environmentLogger(),
    ...(options.nodes == null ? {} : { nodes: options.nodes }),
  });
  const watchdog = options.fast ? null : startWatchdog();
  return {
    clock,
    gateway,
    vad,
    spool,
    store,
    runtime,
    lease,
    watchdog,
    run: (until, maxMs) => (virtual === null ? waitFor(clock, until, maxMs) : fastUntil(virtual, until, maxMs)),
    close: async () => {
      await whileTurning(virtual, runtime.close());
      await options.nodes?.close();
      await whileTurning(virtual, spool.close());
      await watchdog?.stop();
    },
  };
}

async function fastUntil(clock: VirtualClock, until: () => boolean, maxMs: number): Promise<boolean> {
  const maxNs = (clock.nowNs() + msToNs(maxMs)) as MonoNs;
  return (await runFast(clock, { until, maxNs })) === "done";
}

const POLL_MS = 10;

function waitFor(clock: Clock, until: () => boolean, maxMs: number): Promise<boolean> {
  const endNs = clock.nowNs() + msToNs(maxMs);
  return new Promise((resolve) => {
    const look = (): void => {
      if (until()) return resolve(true);
      if (clock.nowNs() >= endNs) return resolve(false);
      clock.timerAt((clock.nowNs() + msToNs(POLL_MS)) as MonoNs, look);
    };
    look();
  });
}

/** Closing may wait for timers: under a virtual clock somebody has to move time meanwhile. */
async function whileTurning<T>(virtual: VirtualClock | null, work: Promise<T>): Promise<T> {
  if (virtual === null) return work;
  let done = false;
  const finished = work.finally(() => {
    done = true;
  });
  await runFast(virtual, { until: () => done, maxNs: (virtual.nowNs() + msToNs(60_000)) as MonoNs });
  return finished;
}

/** RSPP_LOG_LEVEL=debug|info|warn|error: JSON lines on stderr with session ids (F-013, F-067). Without it, none. */
function environmentLogger(): Logger {
  const level = process.env.RSPP_LOG_LEVEL;
  return level ? pino({ level, base: null }, pino.destination(2)) : silentLogger;
}
