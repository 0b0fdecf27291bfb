import type { MonoNs } from "@rspp/base/brand";
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { linkStep } from "../link.ts";
import { createLink } from "../link-state.ts";
import type {
  Connection,
  LinkConfig,
  LinkFrame,
  LinkInput,
  LinkOutput,
  LinkRole,
  LinkState,
  Outgoing,
  SessionConstants,
} from "../link-types.ts";
import { defaultLinkConfig } from "../link-types.ts";

// Two ends and the wires between them, driven by hand: nothing moves until a test says so.

export type Payload = string;
export type Output = LinkOutput<Payload>;

export interface InFlight {
  to: LinkRole;
  connection: Connection;
  incarnation: number;
  frame: LinkFrame<Payload>;
}

export interface LinkPair {
  nowNs: MonoNs;
  ends: Record<LinkRole, LinkState<Payload>>;
  outputs: Record<LinkRole, Output[]>;
  wires: InFlight[];
}

export const constants: SessionConstants = {
  tenant: "t1",
  session: "s1",
  pipelineVersion: "p1@1",
  epoch: 1,
  codec: "pcm_s16le",
  sampleRateHz: 16_000,
  channels: 1,
};

export function pairCreate(config: Partial<LinkConfig> = {}): LinkPair {
  return {
    nowNs: asMonoNs(0),
    ends: {
      adapter: createLink({ ...defaultLinkConfig("adapter"), ...config, role: "adapter" }),
      runtime: createLink({ ...defaultLinkConfig("runtime"), ...config, role: "runtime" }),
    },
    outputs: { adapter: [], runtime: [] },
    wires: [],
  };
}

/** Steps one end; its transmissions go on the wires, all else is collected. Returns this step's outputs. */
export function step(pair: LinkPair, role: LinkRole, input: LinkInput<Payload>): Output[] {
  const outputs = linkStep(pair.ends[role], input, pair.nowNs);
  const to: LinkRole = role === "adapter" ? "runtime" : "adapter";
  for (const output of outputs) {
    if (output.kind === "transmit") {
      for (const frame of output.frames) {
        // A wire carries copies: JSON is also the proof that every frame is plain data.
        const copy = JSON.parse(JSON.stringify(frame)) as LinkFrame<Payload>;
        pair.wires.push({ to, connection: output.connection, incarnation: output.incarnation, frame: copy });
      }
    } else pair.outputs[role].push(output);
  }
  return outputs;
}

export function connect(pair: LinkPair, incarnation = 1): void {
  for (const role of ["adapter", "runtime"] as const) {
    for (const connection of ["control", "media"] as const)
      step(pair, role, { kind: "connected", connection, incarnation });
  }
}

/** Delivers what is on the wires now and whatever that causes, optionally of one connection only. */
export function deliver(pair: LinkPair, only?: Connection): void {
  for (;;) {
    const at = pair.wires.findIndex((w) => only === undefined || w.connection === only);
    const wire = pair.wires[at];
    if (wire === undefined) return;
    pair.wires.splice(at, 1);
    const { to, connection, incarnation, frame } = wire;
    step(pair, to, { kind: "frame", connection, incarnation, frame });
  }
}

export function advance(pair: LinkPair, ms: number): void {
  pair.nowNs = asMonoNs(pair.nowNs + msToNs(ms));
}

export function tick(pair: LinkPair, role: LinkRole, idle = true): Output[] {
  return step(pair, role, { kind: "tick", idle });
}

/** Binds `constants` from the adapter and gives the reference. */
export function open(pair: LinkPair, role: LinkRole = "adapter", session = "s1"): number {
  const outputs = step(pair, role, { kind: "bind", constants: { ...constants, session }, supersedes: null });
  const opened = outputs.find((o) => o.kind === "session_opened");
  if (opened?.kind !== "session_opened") throw new Error("bind was refused");
  return opened.ref;
}

export function data(
  payload: string,
  more: Partial<Extract<Outgoing<Payload>, { lane: "data" }>> = {},
): Outgoing<Payload> {
  return { lane: "data", turn: 1, generation: 1, audioUs: 20_000, bytes: 640, urgent: false, payload, ...more };
}

export function positioned(payload: string, afterMedia = true): Outgoing<Payload> {
  return { lane: "control", class: "positioned", afterMedia, payload };
}

export function overtaking(payload: string, turn: number, generation: number, olderTurns = false): Outgoing<Payload> {
  return { lane: "control", class: "overtaking", cutoff: { turn, generation, olderTurns }, payload };
}

/** Payloads one end's application was given, in order: data, telemetry and control alike. */
export function heard(pair: LinkPair, role: LinkRole): string[] {
  const payloads: string[] = [];
  for (const o of pair.outputs[role]) {
    if (o.kind === "event") payloads.push(o.event.payload);
    else if (o.kind === "overtaking") payloads.push(o.payload);
    else if (o.kind === "positioned") payloads.push(o.forced ? `${o.payload}!` : o.payload);
  }
  return payloads;
}

export function kinds(outputs: readonly Output[]): string[] {
  return outputs.map((o) => o.kind);
}
