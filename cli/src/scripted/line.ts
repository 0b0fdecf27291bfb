/** One call on a stage: the session, the line to it, and what passes over it. */
import type { MonoNs } from "@rspp/base/brand";
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import type { RuntimeSession } from "@rspp/runtime/runtime";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { sessionTexts } from "@rspp/spec/session-texts";
import type { VariableValues } from "@rspp/spec/session-variables";
import { TEST_LATENCIES } from "@rspp/spec/test-script/script-schema";
import { createLoopbackAdapter, type LoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { InputError } from "../errors.ts";
import { sessionConfigOf } from "../pipeline.ts";
import type { Stage } from "./stage.ts";
import { createTrouble, type Trouble } from "./trouble.ts";

export interface SaidText {
  readonly turn: number;
  readonly role: "user" | "assistant";
  readonly text: string;
}

export interface Line {
  readonly session: RuntimeSession;
  readonly adapter: LoopbackAdapter;
  readonly trouble: Trouble;
  /** Final texts of the caller and pieces of the agent's, in order. */
  readonly said: readonly SaidText[];
  /** Turns in the order they were opened. */
  readonly opened: readonly number[];
  /** Milliseconds by turn and name (`kernel.md` §10). */
  readonly latencies: ReadonlyMap<number, Readonly<Record<string, number>>>;
  /** Media of a fenced (turn, generation) that the runtime handed out after its fence. */
  afterFence(): number;
  /** Every turn opened so far is over. */
  idle(): boolean;
  /** The turn whose reply is being heard; 0 none. */
  speaking(): number;
  /** Media time of the turn's reply that was heard so far, microseconds. */
  playedUs(turn: number): number;
  /** The caller ends the call. */
  hangUp(): void;
  /** Why it ended, `caller` where the caller hung up; "" while it goes on. */
  ended(): string;
}

const EPOCH = 1;
const TERMINAL: readonly string[] = ["completed", "cancelled", "lost"];

export interface Dialled {
  readonly pipeline: CompiledPipeline;
  readonly sessionId: string;
  readonly seed: string;
  readonly variables: VariableValues;
}

/** @throws InputError when the session is refused. */
export function dial(stage: Stage, { pipeline, sessionId, seed, variables }: Dialled): Line {
  const { clock, runtime } = stage;
  const { texts, greeting, ...told } = sessionTexts(pipeline);
  const authority = { epoch: EPOCH, incarnation: "test-1", deadlineNs: 1e18 as MonoNs };
  const kept = { ...pipeline, recording: { ...pipeline.recording, ceiling: "L2" as const } };
  const config = sessionConfigOf(kept, { sessionId, authority, seed, variables, ...told });
  const adapter = createLoopbackAdapter({ clock, epoch: EPOCH });
  const trouble = createTrouble({ clock, seed });
  const heard = createListener();
  const send = trouble.way<TransportEgress>((message) => adapter.send(message));
  const transport = {
    send(message: TransportEgress) {
      heard.take(message);
      send(message);
    },
  };
  const opened = runtime.openSession({ config, texts, keepJournal: true, transport });
  if (!opened.ok) throw new InputError(`the session was refused: ${opened.error.detail}`);
  const session = opened.value;
  const latencies = latenciesOf(session);
  let reason = "";
  let hungUp = false;
  void session.ended.then((end) => {
    reason = end.reason;
  });
  adapter.connect({ receive: trouble.way<TransportIngress>((message) => session.receive(message)) });
  if (greeting !== undefined) session.say(greeting);
  const over = (turn: number): boolean => {
    const delivery = adapter.deliveries().find((one) => one.turn === turn);
    return delivery === undefined ? heard.closed.has(turn) : TERMINAL.includes(delivery.phase);
  };
  const { said, turns } = heard;
  return {
    session,
    adapter,
    trouble,
    said,
    opened: turns,
    latencies,
    afterFence: heard.afterFence,
    idle: () => turns.every(over),
    speaking: () => adapter.deliveries().findLast(({ phase }) => phase === "playing")?.turn ?? 0,
    playedUs: (turn) => adapter.deliveries().findLast((one) => one.turn === turn)?.playedUs ?? 0,
    hangUp() {
      hungUp = true;
      adapter.end();
    },
    ended: () => (hungUp && reason !== "" ? "caller" : reason),
  };
}

/** Everything the runtime sends, as it is handed out. */
function createListener() {
  const said: SaidText[] = [];
  const turns: number[] = [];
  const closed = new Set<number>();
  const fences: { turn: number; generation: number; all: boolean }[] = [];
  let after = 0;
  return {
    said,
    turns,
    closed,
    afterFence: () => after,
    take(message: TransportEgress): void {
      if (message.kind === "text" && (message.role === "assistant" || message.final)) {
        const { turn, role, text } = message;
        said.push({ turn, role, text });
      }
      if (message.kind === "control" && message.signal === "turn_open") turns.push(message.turn);
      if (message.kind === "control" && message.signal === "close") closed.add(message.turn);
      if (message.kind === "fence") fences.push(message);
      if (message.kind !== "media") return;
      const { turn, generation } = message;
      const fenced = fences.some((fence) => {
        const older = fence.all && turn > 0 && turn < fence.turn;
        return older || (fence.turn === turn && generation < fence.generation);
      });
      if (fenced) after += 1;
    },
  };
}

const NAMES: readonly string[] = TEST_LATENCIES;

function latenciesOf(session: RuntimeSession): ReadonlyMap<number, Record<string, number>> {
  const found = new Map<number, Record<string, number>>();
  session.events.subscribe({
    kinds: ["metrics"],
    onReady: (subscription) => {
      for (let event = subscription.take(); event !== undefined; event = subscription.take()) {
        if (event.kind !== "metrics" || event.turn === 0 || !NAMES.includes(event.name)) continue;
        const known = found.get(event.turn) ?? {};
        known[event.name] = Math.max(known[event.name] ?? 0, event.value);
        found.set(event.turn, known);
      }
    },
  });
  return found;
}
