import type {
  Invocation,
  InvocationChunk,
  InvocationInput,
  InvocationOpen,
  InvocationOutcome,
  InvocationSink,
  ProviderPort,
} from "@rspp/ports/provider";
import type { VirtualClock } from "@rspp/runtime/clock/virtual-clock";
import { Channel, type Path } from "./network.ts";
import type { SimProcess } from "./process.ts";
import type { GatewayProcess } from "./providers.ts";
import type { Rng } from "./rng.ts";

/** What can be seen of one invocation at the runtime's end of the call. */
export interface InvocationWatch {
  pushed(input: InvocationInput): void;
  chunk(chunk: InvocationChunk): void;
  cancelled(): void;
  ended(): void;
}

export interface GatewayWatch {
  /** An effect is about to leave the process. @returns false where the process has died before it. */
  effect(): boolean;
  opened(request: InvocationOpen): InvocationWatch;
  /** A chunk came after its cancel had left. */
  crossed(): void;
}

/** The gateway as a service: what is said either way takes its time, so that chunks cross a cancel on their way. */
export function remoteGateway(
  world: VirtualClock,
  rng: Rng,
  path: Path,
  gateway: GatewayProcess,
  caller: SimProcess,
  seen: GatewayWatch,
): ProviderPort {
  return {
    open(request: InvocationOpen, sink: InvocationSink): Invocation {
      if (!seen.effect()) return { push: () => {}, finish: () => {}, cancel: () => {} };
      const watch = seen.opened(request);
      const there = new Channel(world, rng, path, gateway.proc);
      const back = new Channel(world, rng, path, caller);
      let remote: Invocation | null = null;
      let cancelled = false;
      // What a restarted process left open speaks to nobody: its connection died with it.
      const { life } = caller;
      const answer = (bytes: number, run: () => void): void =>
        back.send(bytes, () => {
          if (caller.life === life) run();
        });
      let ended = false;
      const end = (outcome: InvocationOutcome): void => {
        if (ended) return;
        ended = true;
        unwatch();
        watch.ended();
        sink.outcome(outcome);
      };
      const broken = (): void => answer(40, () => end({ kind: "disconnect", detail: "gateway_gone" }));
      const unwatch = gateway.watch(broken);
      // Nobody listens on a dead process's port.
      if (gateway.proc.dead()) broken();
      there.send(200, () => {
        try {
          remote = gateway.service.open(request, {
            chunk: (chunk) =>
              answer(chunk?.kind === "audio" ? (chunk.bytes?.length ?? 0) : 100, () => {
                if (cancelled) seen.crossed();
                if (ended) return;
                watch.chunk(chunk);
                sink.chunk(chunk);
              }),
            outcome: (outcome) => answer(100, () => end(outcome)),
          });
        } catch {
          answer(100, () => end({ kind: "error", detail: "provider_threw" }));
        }
      });
      return {
        push: (input) => {
          if (!seen.effect()) return;
          watch.pushed(input);
          there.send(input.kind === "audio" ? input.bytes.length : 100, () => remote?.push(input));
        },
        finish: () => {
          if (seen.effect()) there.send(40, () => remote?.finish());
        },
        cancel: (reason) => {
          cancelled = true;
          watch.cancelled();
          there.send(40, () => remote?.cancel(reason));
        },
      };
    },
    providers: () => gateway.service.providers(),
    close: () => Promise.resolve(),
  };
}
