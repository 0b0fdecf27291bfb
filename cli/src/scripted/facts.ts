/** What came of a scripted call: by the line, by the record, and by its replay. */
import type { DeliveryAddendum, SealedEvidence } from "@rspp/kernel/evidence";
import { replayJournal } from "@rspp/kernel/replay";
import { replaySession } from "../replay-session.ts";
import type { Line, SaidText } from "./line.ts";
import type { Stage } from "./stage.ts";

export interface TurnFacts {
  readonly turn: number;
  readonly text: string;
  readonly heard: string;
  readonly caller: string;
  readonly terminal: string;
  readonly reason: string;
  /** completed, cancelled, lost; "" where nothing was to be delivered. */
  readonly delivery: string;
  /** A cancel was accepted, before its end or while it was still played. */
  readonly cancelled: boolean;
  /** Mandatory parts of its evidence that are missing; null where there is no evidence at all. */
  readonly missing: readonly string[] | null;
  readonly latencies: Readonly<Record<string, number>>;
}

export interface SignalFacts {
  readonly signal: string;
  readonly turn: number;
  readonly reason: string;
  readonly monoNs: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface ToolFacts {
  readonly turn: number;
  readonly tool: string;
  readonly arguments: string;
  readonly outcome: string;
}

export interface CallFacts {
  /** In the order they were opened. */
  readonly turns: readonly TurnFacts[];
  /** `caller: words` and `agent: words`; what was not heard to its end bears `[cut]`. */
  readonly lines: readonly string[];
  readonly signals: readonly SignalFacts[];
  readonly tools: readonly ToolFacts[];
  readonly ended: string;
  /** Samples and frames of a fenced reply that came after its fence. */
  readonly afterFence: number;
  readonly fences: number;
  readonly framesLost: number;
  /** Level of the replay (`kernel.md` §12) and what differs; empty: as it was. */
  readonly replay: { readonly level: string; readonly problems: readonly string[] };
  /** What is left open or was lost, which never may be. */
  readonly leaks: readonly string[];
}

const plain = (text: string): string => text.replace(/\s+/g, " ").trim();

/** Call it when the session is over. */
export async function factsOf(stage: Stage, line: Line): Promise<CallFacts> {
  const { session, adapter, opened } = line;
  const { stats } = await session.ended;
  const run = stage.spool.readSession(session.id).runs.at(-1);
  const records = (run?.records ?? []).map(({ kind, content }) => ({ kind, content: content as RecordContent }));
  const evidence = new Map<number, SealedEvidence>();
  const delivered = new Map<number, DeliveryAddendum>();
  for (const { kind, content } of records) {
    if (kind === "evidence" && content?.manifest !== undefined) evidence.set(content.turn, content.manifest);
    if (kind === "delivery_addendum" && content?.addendum !== undefined) delivered.set(content.turn, content.addendum);
  }
  const inMemory = replayJournal(session.config, session.journal());
  const replayed = replaySession(stage.store, session.id);
  const turnOf = (turn: number): TurnFacts => {
    const text = repliesOf(line.said, turn);
    const { manifest, missing } = evidence.get(turn) ?? { manifest: null, missing: null };
    const addendum = delivered.get(turn);
    const words = replayed.turns.find((one) => one.turn === turn);
    return {
      turn,
      text: plain(text),
      heard: plain(words?.heard || text.slice(0, addendum?.heardChars ?? 0)),
      caller: plain(words?.user ?? ""),
      terminal: manifest?.terminal?.kind ?? "",
      reason: manifest?.terminal?.reason ?? "",
      delivery: addendum?.outcome ?? "",
      cancelled: (manifest?.cancel ?? null) !== null || (addendum?.cancelAcceptedNs ?? null) !== null,
      missing,
      latencies: line.latencies.get(turn) ?? {},
    };
  };
  const turns = opened.map(turnOf);
  const cut = (turn: number): boolean =>
    adapter.deliveries().some((one) => one.turn === turn && one.phase === "cancelled");
  const tools = [...evidence].flatMap(([turn, { manifest }]) =>
    manifest.invocations.flatMap(({ tool, invocationId, outcome }) =>
      tool === undefined
        ? []
        : [{ turn, tool, arguments: stage.toolCalls.get(invocationId) ?? "", outcome: outcome ?? "open" }],
    ),
  );
  const { samplesAfterFence } = adapter.stats();
  const divergences = [...inMemory.divergences, ...replayed.divergences].map((one) =>
    JSON.stringify(one).slice(0, 500),
  );
  const same = inMemory.identical && replayed.identical;
  return {
    turns,
    lines: linesOf(line.said, cut),
    signals: (run?.signals ?? []) as SignalFacts[],
    tools,
    ended: line.ended(),
    afterFence: samplesAfterFence + line.afterFence(),
    fences: adapter.fences().length,
    framesLost: line.trouble.lost(),
    replay: {
      level: replayed.level,
      problems: [
        ...divergences,
        ...replayed.problems,
        ...(same || divergences.length > 0 ? [] : ["the replay differs"]),
      ],
    },
    leaks: leaksOf(stats),
  };
}

type RecordContent = { turn: number; manifest?: SealedEvidence; addendum?: DeliveryAddendum } | null;

function leaksOf(stats: { openInvocations: number; openTimers: number; evidenceFailures: number }): string[] {
  const { openInvocations, openTimers, evidenceFailures } = stats;
  return Object.entries({ openInvocations, openTimers, evidenceFailures }).flatMap(([name, count]) =>
    count === 0 ? [] : [`${name}: ${count}`],
  );
}

function repliesOf(said: readonly SaidText[], turn: number): string {
  return said.flatMap((one) => (one.turn === turn && one.role === "assistant" ? [one.text] : [])).join("");
}

function linesOf(said: readonly SaidText[], isCut: (turn: number) => boolean): string[] {
  const lines = new Map<string, { who: string; turn: number; text: string }>();
  for (const [i, { turn, role, text }] of said.entries()) {
    const who = role === "assistant" ? "agent" : "caller";
    const key = role === "assistant" ? `agent/${turn}` : `caller/${i}`;
    const known = lines.get(key);
    if (known === undefined) lines.set(key, { who, turn, text });
    else known.text += text;
  }
  return [...lines.values()].map(
    ({ who, turn, text }) => `${who}: ${plain(text)}${who === "agent" && isCut(turn) ? " [cut]" : ""}`,
  );
}
