/** Plays the host of custom nodes for a kernel under virtual time: what each instance is asked, and its answers. */
import type { Effect } from "../effect.ts";
import type { EventBody, TextBody } from "../event.ts";
import type { CustomLimits, NodeDefinition, NodePorts } from "../graph.ts";
import type { InputBody } from "../input.ts";
import { KernelHarness } from "./harness.ts";

export const LIMITS: CustomLimits = {
  maxInFlight: 1,
  queueMax: 0,
  whenFull: "queue",
  eventTimeoutMs: 400,
  hookTimeoutMs: 300,
  memoryMb: 64,
  cpuPercent: 100,
};

export const TEXT_PORTS: NodePorts = {
  inputs: [{ name: "text", type: "text" }],
  outputs: [{ name: "text", type: "text" }],
};
export const AUDIO_PORTS: NodePorts = {
  inputs: [{ name: "audio", type: "audio" }],
  outputs: [{ name: "audio", type: "audio" }],
};

export function custom(
  id: string,
  scope: "session" | "turn",
  ports: NodePorts,
  limits: Partial<CustomLimits> = {},
): NodeDefinition {
  const of = { package: `${id}@1.0.0`, packageDigest: "d".repeat(64), ports, limits: { ...LIMITS, ...limits } };
  return { id, kind: "custom", scope, settings: {}, candidates: [], ...of };
}

type EffectOf<T extends Effect["type"]> = Extract<Effect, { type: T }>;

/** How a node answers one event; null where it says nothing. */
export type Behaviour = (host: CustomHost, asked: EffectOf<"node_input">) => InputBody[] | null;

/** Emits what it was given and is done. */
export const echo: Behaviour = (_, { command, port, body }) =>
  body.type === "end"
    ? [{ type: "node_done", command }]
    : [
        { type: "node_emitted", command, index: 0, port, body },
        { type: "node_done", command },
      ];

/** In capitals. */
export const shout: Behaviour = (host, { command, port, body }) =>
  body.type !== "text"
    ? [{ type: "node_done", command }]
    : [
        { type: "node_emitted", command, index: 0, port, body: host.said(host.text(body.spans).toUpperCase()) },
        { type: "node_done", command },
      ];

export const silent: Behaviour = () => null;

export class CustomHost extends KernelHarness {
  behaviour: Record<string, Behaviour> = {};
  /** Hooks that never come back. */
  hanging: { init?: boolean; stop?: boolean; cancel?: boolean } = {};
  readonly asked: EffectOf<"node_input">[] = [];
  readonly opened: EffectOf<"node_open">[] = [];
  private depth = 0;

  /** The command it was asked last. */
  get last(): number {
    return this.asked.at(-1)?.command ?? 0;
  }

  of<T extends Effect["type"]>(type: T): EffectOf<T>[] {
    return this.log.flatMap(({ effect }) => (effect.type === type ? [effect as EffectOf<T>] : []));
  }

  said(text: string): TextBody {
    const ref = this.ref(text);
    return {
      type: "text",
      spans: [{ ref, from: 0, to: text.length }],
      chars: text.length,
      segment: 0,
      revision: 1,
      final: true,
      confidence: 1,
      language: "en",
    };
  }

  override feedAt(stamped: readonly { body: InputBody; atNs: number }[]): Effect[] {
    const effects = super.feedAt(stamped);
    this.depth += 1;
    if (this.depth > 200) throw new Error("the nodes never come to rest");
    const answers = effects.flatMap((effect) => this.answer(effect));
    if (answers.length > 0) effects.push(...this.feed(...answers));
    this.depth -= 1;
    return effects;
  }

  private answer(effect: Effect): InputBody[] {
    switch (effect.type) {
      case "node_open":
        this.opened.push(effect);
        return this.hanging.init === true ? [] : [{ type: "node_ready", instance: effect.instance }];
      case "node_input":
        this.asked.push(effect);
        return (this.behaviour[effect.node] ?? echo)(this, effect) ?? [];
      case "node_cancel":
        return this.hanging.cancel === true ? [] : [{ type: "cancel_acked", command: effect.command }];
      case "node_stop": {
        if (effect.kill || this.hanging.stop === true) return [];
        return [{ type: "node_stopped", node: effect.node, reason: "stopped", instance: effect.instance }];
      }
      default:
        return [];
    }
  }

  /** Answers a command that was left unanswered. */
  finish(command: number, ...emitted: EventBody[]): Effect[] {
    const asked = this.asked.find((one) => one.command === command);
    const bodies = emitted.map((body, index): InputBody => {
      return { type: "node_emitted", command, index, port: asked?.port ?? "", body };
    });
    return this.feed(...bodies, { type: "node_done", command });
  }
}
