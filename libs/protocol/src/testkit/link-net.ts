import type { MonoNs } from "@rspp/base/brand";
import { asMonoNs, monoPlusNs, msToNs } from "@rspp/base/brand";
import type { RandomStream } from "@rspp/base/random";
import { createStream, nextU32 } from "@rspp/base/random";
import { linkNextDeadline } from "../link-tick.ts";
import type { LinkInput, LinkRole } from "../link-types.ts";
import type { InFlight, LinkPair, Output } from "./link-pair.ts";
import { pairCreate, step } from "./link-pair.ts";

/** Chances in percent. Loss and reordering strike media frames one by one, as no single TCP connection would. */
export interface NetFaults {
  delayMsMax: number;
  duplicatePct: number;
  mediaLossPct: number;
  mediaReorderPct: number;
}

interface Scheduled extends InFlight {
  atNs: MonoNs;
  order: number;
}

export type Observer = (role: LinkRole, input: LinkInput<string>, outputs: Output[], nowNs: MonoNs) => void;

/** Two link ends over a seeded network under virtual time; each end is ticked exactly when it asks for it. */
export interface LinkNet {
  pair: LinkPair;
  faults: NetFaults;
  random: RandomStream;
  scheduled: Scheduled[];
  order: number;
  lastAtNs: Record<string, number>;
  observe: Observer;
}

export function netCreate(
  seed: string,
  faults: NetFaults,
  config: Parameters<typeof pairCreate>[0],
  observe: Observer,
): LinkNet {
  const random = createStream(seed, 0, "link-net");
  return { pair: pairCreate(config), faults, random, scheduled: [], order: 0, lastAtNs: {}, observe };
}

export function netStep(net: LinkNet, role: LinkRole, input: LinkInput<string>): Output[] {
  const outputs = step(net.pair, role, input);
  net.observe(role, input, outputs, net.pair.nowNs);
  for (const wire of net.pair.wires.splice(0)) schedule(net, wire);
  return outputs;
}

/** Both connections of the incarnation are lost with all that is on them, and new ones come up. */
export function netReconnect(net: LinkNet, incarnation: number): void {
  net.scheduled = net.scheduled.filter((s) => pct(net) < 30 && s.atNs >= net.pair.nowNs);
  for (const role of ["adapter", "runtime"] as const) {
    netStep(net, role, {
      kind: "disconnected",
      connection: pct(net) < 50 ? "control" : "media",
      incarnation: incarnation - 1,
    });
    for (const connection of ["media", "control"] as const)
      netStep(net, role, { kind: "connected", connection, incarnation });
  }
}

/** Runs the network and both ends' deadlines for `ms`. */
export function netRun(net: LinkNet, ms: number): void {
  const endNs = net.pair.nowNs + msToNs(ms);
  for (;;) {
    const next = nextInstant(net);
    if (next === null || next > endNs) break;
    net.pair.nowNs = asMonoNs(Math.max(net.pair.nowNs, next));
    const due = net.scheduled[0];
    if (due !== undefined && due.atNs <= net.pair.nowNs) {
      net.scheduled.shift();
      const { to, connection, incarnation, frame } = due;
      netStep(net, to, { kind: "frame", connection, incarnation, frame });
    } else {
      for (const role of ["adapter", "runtime"] as const) netStep(net, role, { kind: "tick", idle: pct(net) < 50 });
    }
  }
  net.pair.nowNs = asMonoNs(endNs);
}

function nextInstant(net: LinkNet): number | null {
  let next: number | null = net.scheduled[0]?.atNs ?? null;
  for (const role of ["adapter", "runtime"] as const) {
    const at = linkNextDeadline(net.pair.ends[role]);
    if (at !== null && (next === null || at < next)) next = at;
  }
  return next;
}

function schedule(net: LinkNet, wire: InFlight): void {
  const media = wire.connection === "media";
  if (media && pct(net) < net.faults.mediaLossPct) return;
  const key = `${wire.to}/${wire.connection}/${wire.incarnation}`;
  const delayed = net.pair.nowNs + msToNs(below(net, net.faults.delayMsMax + 1));
  const reorders = media && pct(net) < net.faults.mediaReorderPct;
  const at = reorders ? delayed : Math.max(delayed, net.lastAtNs[key] ?? 0);
  if (!reorders) net.lastAtNs[key] = at;
  insert(net, { ...wire, atNs: asMonoNs(at), order: net.order++ });
  if (pct(net) < net.faults.duplicatePct) {
    const again = monoPlusNs(asMonoNs(at), msToNs(below(net, net.faults.delayMsMax + 1)));
    insert(net, { ...wire, atNs: again, order: net.order++ });
  }
}

function insert(net: LinkNet, wire: Scheduled): void {
  net.scheduled.push(wire);
  net.scheduled.sort((a, b) => a.atNs - b.atNs || a.order - b.order);
}

function below(net: LinkNet, n: number): number {
  return nextU32(net.random) % n;
}

function pct(net: LinkNet): number {
  return below(net, 100);
}
