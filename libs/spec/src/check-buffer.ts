/** Rules between the fields of an edge's buffer, and between them and what the edge joins (F-044, F-053, F-143 to F-147). */
import type { BufferSpec, PortType } from "@rspp/kernel/graph";
import { NODE_KINDS, type NodeKind } from "@rspp/kernel/graph";
import type { Report } from "./check-graph.ts";
import { looseField, parseEdge, resolveScopes, viewGraph } from "./graph-view.ts";
import type { BufferDocument } from "./spec.ts";

interface Ends {
  /** What the edge carries; null where its start could not be read. */
  type: PortType | null;
  fromScope: "session" | "turn" | undefined;
  toKind: unknown;
  toScope: "session" | "turn" | undefined;
  toFallback: boolean;
}

type Say = (field: string, message: string, remedy: string) => void;

/** @param document a walked spec; fields that were wrong are absent. */
export function checkBuffers(document: unknown, report: Report): void {
  const edges = looseField(document, "edges");
  if (!Array.isArray(edges) || !edges.some((edge) => looseField(edge, "buffer") !== undefined)) return;
  const scopes = resolveScopes(viewGraph(document));
  const domains = new Map<string, Member[]>();
  for (const [i, edge] of edges.entries()) {
    const buffer = looseField(edge, "buffer") as BufferDocument | undefined;
    if (buffer === undefined) continue;
    const ends = endsOf(edge, document, scopes);
    const path = `edges[${i}].buffer`;
    const say: Say = (field, message, remedy) =>
      report({ path: `${path}.${field}`, code: "not_allowed", message, remedy });
    checkStrategy(buffer, ends, say);
    checkPaired(buffer, say);
    checkWatermark(buffer, ends, say);
    checkLatency(buffer, ends, say);
    checkLanes(buffer, say);
    if (buffer.sync !== undefined) noteMember(domains, buffer, ends, path);
  }
  for (const [domain, members] of domains) checkDomain(domain, members, report);
}

function endsOf(edge: unknown, document: unknown, scopes: ReadonlyMap<string, "session" | "turn">): Ends {
  const ends = parseEdge(edge);
  const nodes = looseField(document, "nodes");
  const node = (id: string | undefined): unknown =>
    Array.isArray(nodes) ? nodes.find((one) => looseField(one, "id") === id) : undefined;
  const from = node(ends?.from.node);
  const to = node(ends?.to.node);
  const kind = looseField(from, "kind");
  const known = typeof kind === "string" && Object.hasOwn(NODE_KINDS, kind) ? NODE_KINDS[kind as NodeKind] : undefined;
  return {
    type: known?.outputs.find((port) => port.name === ends?.from.port)?.type ?? null,
    fromScope: scopes.get(ends?.from.node ?? ""),
    toKind: looseField(to, "kind"),
    toScope: scopes.get(ends?.to.node ?? ""),
    toFallback: looseField(to, "fallback") !== undefined,
  };
}

/** The strategy that the author names, or that of a preset; undefined where the profile's stands. */
function strategyOf({ strategy, preset }: BufferDocument): BufferSpec["strategy"] | undefined {
  if (strategy !== undefined) return strategy;
  return preset === undefined ? undefined : preset === "accuracy_first" ? "block" : "drop_oldest";
}

function checkStrategy(buffer: BufferDocument, { type }: Ends, say: Say): void {
  const strategy = strategyOf(buffer);
  const blocks = strategy === undefined || strategy === "block" || buffer.watermark?.action === "block";
  if (!blocks && buffer.max_block_ms !== undefined)
    say("max_block_ms", `max_block_ms has no meaning with strategy ${strategy}`, "remove it, or set strategy: block");
  if (strategy === "coalesce" && type !== null && type !== "text")
    say(
      "strategy",
      `only text can be coalesced, this edge carries ${type}`,
      "use drop_oldest, drop_newest, latest_only or block",
    );
  if (buffer.preset !== undefined && type !== null && type !== "audio")
    say(
      "preset",
      `preset ${buffer.preset} is for audio, this edge carries ${type}`,
      "remove it and set the bounds that matter",
    );
}

/** Fields that ask for one another. */
function checkPaired(buffer: BufferDocument, say: Say): void {
  const strategy = strategyOf(buffer);
  if (strategy === "sample" && buffer.sample_every === undefined)
    say("strategy", "strategy sample needs sample_every", "add e.g. sample_every: 3, which keeps one of three");
  if (strategy !== "sample" && buffer.sample_every !== undefined)
    say("sample_every", "sample_every has no meaning without strategy: sample", "remove it, or set strategy: sample");
  if (strategy !== "coalesce" && buffer.coalesce_ms !== undefined)
    say("coalesce_ms", "coalesce_ms has no meaning without strategy: coalesce", "remove it, or set strategy: coalesce");
  const credit = buffer.flow === "credit" || buffer.flow === "hybrid";
  if (credit && buffer.credits === undefined)
    say("flow", `flow ${buffer.flow} needs credits`, "add e.g. credits: 16, the events that may be under way");
  if (!credit && buffer.credits !== undefined)
    say("credits", "credits have no meaning without flow: credit or hybrid", "remove them, or set flow: credit");
  const { credits = 0, max_items: items = credits } = buffer;
  if (credits > items)
    say(
      "credits",
      `credits (${credits}) exceed max_items (${items}): the rest could never be used`,
      `set credits to ${items} or less`,
    );
}

function checkWatermark(buffer: BufferDocument, { type, toScope, toFallback }: Ends, say: Say): void {
  const { watermark } = buffer;
  if (watermark?.high === undefined || watermark.low === undefined) return;
  if (watermark.low >= watermark.high)
    say(
      "watermark.low",
      `low (${watermark.low}) is not below high (${watermark.high})`,
      "leave room between the two, e.g. high: 0.8 and low: 0.4",
    );
  if (watermark.action === "merge" && type !== null && type !== "text")
    say("watermark.action", `only text can be merged, this edge carries ${type}`, "use drop, block or degrade");
  if (watermark.action !== "fallback") return;
  if (toScope === "turn" && toFallback) return;
  say(
    "watermark.action",
    "the node this edge leads to has no fallback that could take over",
    'give it a "fallback:", or use degrade',
  );
}

function checkLatency(buffer: BufferDocument, { toKind, toScope }: Ends, say: Say): void {
  if (toKind !== "output" || toScope !== "turn") return;
  const field =
    buffer.max_latency_ms !== undefined ? "max_latency_ms" : buffer.preset === "latency_first" ? "preset" : "";
  if (field === "") return;
  say(
    field,
    "a reply waits here to be played: a bound on its wait would cut words out of it",
    "bound the edges before the voice",
  );
}

function checkLanes({ lanes }: BufferDocument, say: Say): void {
  const rule = lanes?.telemetry;
  if (rule === undefined) return;
  if (rule.strategy === "sample" && rule.sample_every === undefined)
    say("lanes.telemetry", "strategy sample needs sample_every", "add e.g. sample_every: 10");
  if (rule.strategy !== "sample" && rule.sample_every !== undefined)
    say("lanes.telemetry.sample_every", "sample_every has no meaning without strategy: sample", "remove it");
}

interface Member {
  path: string;
  policy: string | undefined;
  scope: string;
  /** What tells its groups apart: media time, or the clause that is spoken. */
  by: "media time" | "clause" | null;
  carries: string;
}

function noteMember(domains: Map<string, Member[]>, { sync }: BufferDocument, ends: Ends, path: string): void {
  if (sync?.domain === undefined) return;
  const { type, fromScope } = ends;
  const media = type === "activity" || (type === "audio" && fromScope === "session");
  const clause = type === "text" || (type === "audio" && fromScope === "turn");
  const member: Member = {
    path: `${path}.sync`,
    policy: sync.policy,
    scope: sync.scope ?? "edge_local",
    by: media ? "media time" : clause ? "clause" : null,
    carries: type ?? "",
  };
  domains.set(sync.domain, [...(domains.get(sync.domain) ?? []), member]);
}

function checkDomain(domain: string, members: readonly Member[], report: Report): void {
  const [first] = members;
  for (const member of members) {
    const say = (message: string, remedy: string): void =>
      report({ path: member.path, code: "not_allowed", message, remedy });
    if (member.by === null && member.carries !== "")
      say(`${member.carries} belongs to no sync group`, "synchronise audio, voice activity or text of clauses");
    else if (first !== undefined && first.by !== null && member.by !== null && member.by !== first.by)
      say(`domain ${domain} goes by ${first.by}, this edge by ${member.by}`, "use another domain for it");
    if (first !== undefined && (member.policy !== first.policy || member.scope !== first.scope))
      say(
        `domain ${domain} has policy ${first.policy} and scope ${first.scope} elsewhere`,
        "give all edges of a domain the same",
      );
    if (member.scope === "plan_wide" && members.length === 1)
      say(`domain ${domain} has this edge alone`, "add the edges that belong to it, or set scope: edge_local");
  }
}
