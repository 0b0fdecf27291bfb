/** What the tool calls of one turn hold. Made at the first call, gone with its turn. */
import type { ChatMessage, TextSpan } from "./event.ts";
import type { NodeDefinition, ToolDefinition } from "./graph.ts";
import type { ChunkText, ChunkToolCall, OutcomeKind } from "./input.ts";
import { TOOL_CALL_NAME_CHARS_MAX, TOOL_CALLS_ASKED_MAX } from "./limits.ts";

/** What a speculation may have said before its turn. */
export type SpeculatedChunk = ChunkText | ChunkToolCall;

/** A language-model node with tools, in one turn. */
export interface ToolRun {
  /** What the model was asked last: the next round goes on from it. */
  messages: readonly ChatMessage[];
  /** Rounds of calls begun. */
  round: number;
  /** Of the whole turn, in the order asked for. */
  calls: ToolCall[];
  /** What the model said in the answer that calls. */
  said: TextSpan[];
  /** Index of the tool whose filler waits to be said in this round; -1 for none, or none any more. */
  filler: number;
  /** Candidate of the model that served last. */
  candidate: number;
}

export interface ToolCall {
  round: number;
  callId: string;
  name: string;
  /** Index among the node's tools; -1 for a name it has not. */
  tool: number;
  arguments: TextSpan;
  status: "asked" | "running" | "done";
  /** 0 before it runs, and for what was never run. */
  invocation: number;
  /** Empty until it is done. */
  result: TextSpan[];
  outcome: OutcomeKind | "";
}

/** The part of an invocation that is a tool's. */
export interface ToolWork {
  /** Index among the tools of its node, and among the calls of the turn. */
  tool: number;
  call: number;
  /** What it has answered so far. */
  result: TextSpan[];
  chars: number;
  /** Its turn is over; nothing waits for it (`kernel.md` §4). */
  detached?: true;
  /** Of its turn, once that has settled. */
  manifestHash?: string;
}

export interface ConversationPart {
  /** `tools`: calls of the agent with their results, before its words of that turn. */
  role: "user" | "assistant" | "tools";
  turn: number;
  /** All its payloads. */
  spans: readonly TextSpan[];
  chars: number;
  exchanges?: ToolExchange[];
}

export interface ToolExchange {
  callId: string;
  name: string;
  arguments: TextSpan;
  /** Null while the result is awaited from an invocation that outlived its turn. */
  result: TextSpan | null;
  invocation: number;
}

/** Whether the model's answer has called tools that have not been begun. */
export function callsAsked(run: ToolRun | undefined): boolean {
  return run?.calls.some((call) => call.status === "asked") === true;
}

export function toolOf(node: NodeDefinition, work: { tool: number }): ToolDefinition | undefined {
  return node.tools?.[work.tool];
}

/** Side-effecting work goes on under a cancel (`kernel.md` §4). */
export function isUninterruptible(node: NodeDefinition, work: ToolWork | undefined): boolean {
  return work !== undefined && toolOf(node, work)?.sideEffect === "side_effecting";
}

/**
 * A call the model asks for; nothing is done before its answer has come to its end. False when there are too many, and, with
 * `once`, for one that its answer has named before.
 */
export function noteCall(run: ToolRun, node: NodeDefinition, chunk: ChunkToolCall, once: boolean): boolean {
  if (run.calls.length >= TOOL_CALLS_ASKED_MAX) return false;
  const callId = chunk.callId.slice(0, TOOL_CALL_NAME_CHARS_MAX);
  // The model's name of a call is unique in its answer: said again it is the same call, and its side effect is one.
  if (once && run.calls.some((call) => call.round === run.round + 1 && call.callId === callId)) return false;
  const tool = (node.tools ?? []).findIndex(({ name }) => name === chunk.name);
  run.calls.push({
    round: run.round + 1,
    callId,
    name: chunk.name.slice(0, TOOL_CALL_NAME_CHARS_MAX),
    tool,
    arguments: { ref: chunk.payload.ref, from: 0, to: chunk.chars },
    status: "asked",
    invocation: 0,
    result: [],
    outcome: "",
  });
  return true;
}
