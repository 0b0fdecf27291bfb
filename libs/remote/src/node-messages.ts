/** What travels to and from external nodes <-> the port of their hosts (`rspp.node.v1`; F-122). */
import { create, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { canonicalJson } from "@rspp/base/canonical-json";
import { err, ok, type Result } from "@rspp/base/result";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { AudioCodec } from "@rspp/gen/rspp/event/v1/audio_pb";
import { TextRole } from "@rspp/gen/rspp/event/v1/text_pb";
import {
  type NodeBodySchema,
  type NodeBounds,
  NodeCancel,
  type NodePort,
  NodePurity,
  NodeScope,
  NodeState,
  type NodeBody as WireBody,
  NodeHook as WireHook,
  type NodePackage as WirePackage,
} from "@rspp/gen/rspp/node/v1/node_pb";
import { type RunRequest, RunRequestSchema } from "@rspp/gen/rspp/node/v1/node_service_pb";
import { PortType } from "@rspp/gen/rspp/pipeline/v1/pipeline_pb";
import type { NodeBody, NodeHook, NodeOpen, NodePackage } from "@rspp/ports/node-host";

type Port = NodePackage["inputs"][number];

const portTypes: ReadonlyMap<PortType, Port["type"]> = new Map([
  [PortType.AUDIO, "audio"],
  [PortType.TEXT, "text"],
  [PortType.VOICE_ACTIVITY, "activity"],
  [PortType.UTTERANCE, "utterance"],
  [PortType.MESSAGES, "messages"],
]);
const scopes = { [NodeScope.SESSION]: "session", [NodeScope.TURN]: "turn", [NodeScope.EITHER]: "either" } as const;
const roles = { system: TextRole.SYSTEM, user: TextRole.USER, assistant: TextRole.ASSISTANT } as const;
const codecs = {
  pcm_s16le: AudioCodec.PCM_S16LE,
  mulaw: AudioCodec.MULAW,
  alaw: AudioCodec.ALAW,
  opus: AudioCodec.OPUS,
} as const;

/** A package that its contract allows. Errors: the field and what to do. */
export function packageFromWire(given: WirePackage): Result<NodePackage, string> {
  const name = `${given.name}@${given.version}`;
  const ports = (list: readonly NodePort[], where: string): Result<Port[], string> => {
    const out: Port[] = [];
    for (const { name: port, type, many, optional } of list) {
      const known = portTypes.get(type);
      if (known === undefined)
        return err(`${name}: ${where}.${port}: type ${PortType[type]} does not travel to nodes; use audio or text`);
      if (out.some((other) => other.name === port)) return err(`${name}: ${where}.${port} is there twice`);
      out.push({ name: port, type: known, ...(many ? { many } : {}), ...(optional ? { optional } : {}) });
    }
    return ok(out);
  };
  const inputs = ports(given.inputs, "inputs");
  if (!inputs.ok) return inputs;
  const outputs = ports(given.outputs, "outputs");
  if (!outputs.ok) return outputs;
  const scope = scopes[given.scope as keyof typeof scopes];
  if (scope === undefined) return err(`${name}: scope is not set`);
  const described = {
    name: given.name,
    version: given.version,
    scope,
    inputs: inputs.value,
    outputs: outputs.value,
    ...(given.description === "" ? {} : { description: given.description }),
    limits: limitsFromWire(given.bounds),
    purity: given.purity === NodePurity.PURE ? "pure" : "effectful",
    cancel: given.cancel === NodeCancel.COOPERATIVE ? "cooperative" : "none",
    state: stateName(given.state),
  } as const;
  const digest = sha256Utf8Hex(canonicalJson({ ...described, build: given.build }));
  return ok({ ...described, host: "grpc", digest });
}

function limitsFromWire(bounds: NodeBounds | undefined): NonNullable<NodePackage["limits"]> {
  const { maxInFlight = 0, eventTimeoutMs = 0, hookTimeoutMs = 0 } = bounds ?? {};
  return {
    ...(maxInFlight === 0 ? {} : { maxInFlight }),
    ...(eventTimeoutMs === 0 ? {} : { eventTimeoutMs }),
    ...(hookTimeoutMs === 0 ? {} : { hookTimeoutMs }),
  };
}

function stateName(state: NodeState): "none" | "turn" | "session_hot" {
  if (state === NodeState.TURN) return "turn";
  return state === NodeState.SESSION_HOT ? "session_hot" : "none";
}

export function openToWire(request: NodeOpen): RunRequest {
  const { limits } = request;
  const bounds = {
    maxInFlight: limits.maxInFlight,
    eventTimeoutMs: limits.eventTimeoutMs,
    hookTimeoutMs: limits.hookTimeoutMs,
  };
  const value = {
    instanceId: request.instanceId,
    package: request.package,
    nodeId: request.node,
    session: { tenantId: request.tenantId, sessionId: request.sessionId },
    pipelineVersion: request.pipelineVersion,
    authorityEpoch: BigInt(request.epoch),
    turnNumber: request.turn,
    settings: request.settings as JsonObject,
    variables: request.variables as JsonObject,
    seed: request.seed,
    bounds,
    hotState: request.hotState,
  };
  return create(RunRequestSchema, { message: { case: "open", value } });
}

export function hookToWire(hook: NodeHook): RunRequest {
  const value = hook === "barge_in" ? WireHook.BARGE_IN : WireHook.BUDGET_EXHAUSTED;
  return create(RunRequestSchema, { message: { case: "hook", value } });
}

/** An event for the node. Errors: what it cannot be told in the contract, as a short static name. */
export function eventToWire(command: number, port: string, body: NodeBody): Result<RunRequest, string> {
  const sent = bodyToWire(body);
  if (!sent.ok) return sent;
  const value = { command: BigInt(command), port, body: { body: sent.value } };
  return ok(create(RunRequestSchema, { message: { case: "event", value } }));
}

type BodyInit = NonNullable<MessageInitShape<typeof NodeBodySchema>["body"]>;

function bodyToWire(body: NodeBody): Result<BodyInit, string> {
  switch (body.type) {
    case "audio": {
      const codec = codecs[body.codec as keyof typeof codecs];
      if (codec === undefined) return err("unknown_codec");
      const format = { codec, sampleRateHz: body.rateHz, channels: body.channels };
      const { bytes: data, durationUs, mediaUs } = body;
      return ok({ case: "audio", value: { format, data, mediaUs: BigInt(mediaUs), durationUs } });
    }
    case "text": {
      const { text, segment, revision, final, confidence, language } = body;
      return ok({ case: "text", value: { text, segment, revision, final, confidence, language } });
    }
    case "activity": {
      const { speech, probability, mediaUs, durationUs } = body;
      return ok({ case: "activity", value: { speech, probability, mediaUs: BigInt(mediaUs), durationUs } });
    }
    case "messages": {
      const messages = body.messages.map(({ role, text }) => ({ role: roles[role], text }));
      return ok({ case: "messages", value: { messages } });
    }
    case "metrics":
      return ok({ case: "metric", value: { name: body.name, value: body.value } });
    case "end":
      return ok({ case: "end", value: {} });
  }
}

/** What a node emitted, its bytes copied; null for what no node may emit. */
export function bodyFromWire({ body }: WireBody): NodeBody | null {
  switch (body.case) {
    case "audio": {
      const { format, data, mediaUs, durationUs } = body.value;
      const codec = Object.entries(codecs).find(([, number]) => number === format?.codec)?.[0];
      if (format === undefined || codec === undefined) return null;
      const { sampleRateHz: rateHz, channels } = format;
      // The bytes alias the chunk they were read in.
      const bytes = new Uint8Array(data);
      return { type: "audio", bytes, codec, rateHz, channels, mediaUs: Number(mediaUs), durationUs };
    }
    case "text": {
      const { text, segment, revision, final, confidence = 1, language } = body.value;
      return { type: "text", text, segment, revision, final, confidence, language };
    }
    case "activity": {
      const { speech, probability, mediaUs, durationUs } = body.value;
      return { type: "activity", speech, probability, mediaUs: Number(mediaUs), durationUs };
    }
    case "messages": {
      const messages: { role: "system" | "user" | "assistant"; text: string }[] = [];
      for (const { role, text } of body.value.messages) {
        const name = role === TextRole.SYSTEM ? "system" : role === TextRole.USER ? "user" : "assistant";
        if (role === TextRole.TOOL) return null;
        messages.push({ role: name, text });
      }
      return { type: "messages", messages };
    }
    case "metric":
      return { type: "metrics", name: body.value.name, value: body.value.value, unit: "" };
    default:
      return null;
  }
}

/** Bytes a body counts, for bounds. */
export function bodyBytes(body: NodeBody): number {
  switch (body.type) {
    case "audio":
      return body.bytes.length;
    case "text":
      return 2 * body.text.length;
    case "messages":
      return body.messages.reduce((sum, { text }) => sum + 2 * text.length, 0);
    default:
      return 64;
  }
}
