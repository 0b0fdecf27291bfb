/** Short ways to the states that tests of the kernel start from. */
import type { Effect, TimelineRecord } from "../effect.ts";
import type { SealedEvidence } from "../evidence.ts";
import type { InputBody } from "../input.ts";
import type { SessionConfig, SessionPolicy } from "../session-config.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./harness.ts";

export const REPLY = "Once upon a time there was a fox. It lived in a wood.";

/** Connected, nothing said yet. */
export function idle(
  policy: Partial<SessionPolicy> = {},
  over: Partial<SessionConfig> = {},
  graph: Parameters<typeof assistantGraph>[0] = {},
): KernelHarness {
  const h = new KernelHarness(testConfig(assistantGraph(graph), { policy: { ...POLICY, ...policy }, ...over }));
  h.connect();
  return h;
}

/** Turn 1 is open, the language model has been asked. */
export function asked(...args: Parameters<typeof idle>): KernelHarness {
  const h = idle(...args);
  h.utter("tell me a story");
  return h;
}

/** Turn 1 is Active and heard: the first clause plays, the language model has not ended. */
export function speaking(...args: Parameters<typeof idle>): KernelHarness {
  const h = asked(...args);
  h.feed(h.textChunk(h.open("llm"), REPLY));
  for (let i = 0; i < 20; i++) h.feed(h.audioChunk(h.open("tts"), 0, 34));
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(100);
  return h;
}

/** Turn 1 has committed and still plays. */
export function committed(...args: Parameters<typeof idle>): KernelHarness {
  const h = asked(...args);
  h.reply(REPLY, 40);
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(300);
  return h;
}

export function records(h: KernelHarness, kind: TimelineRecord["kind"]): TimelineRecord[] {
  return h.log.flatMap(({ effect }) =>
    effect.type === "record" && effect.record.kind === kind ? [effect.record] : [],
  );
}

export function sealed(h: KernelHarness, turn: number): SealedEvidence {
  const found = records(h, "evidence").find((record) => record.kind === "evidence" && record.turn === turn);
  if (found?.kind !== "evidence") throw new Error(`turn ${turn} has no evidence`);
  return found.manifest as SealedEvidence;
}

export function addendum(h: KernelHarness, turn: number): Record<string, unknown> {
  const found = records(h, "delivery_addendum").find((r) => r.kind === "delivery_addendum" && r.turn === turn);
  if (found?.kind !== "delivery_addendum") throw new Error(`turn ${turn} has no addendum`);
  return found.addendum as Record<string, unknown>;
}

/** Signals of these effects as `name#turn(reason)`. */
export function told(effects: readonly Effect[]): string[] {
  return effects.flatMap((effect) => {
    if (effect.type !== "signal") return [];
    const { signal, turn, reason } = effect.event;
    return [`${signal}${turn === 0 ? "" : `#${turn}`}${reason === "" ? "" : `(${reason})`}`];
  });
}

export function cancel(turn: number, reason = "operator"): InputBody {
  return { type: "operator", command: "cancel_turn", turn, reason };
}

export function say(h: KernelHarness, text: string, key = "", origin: "timer" | "operator" | "api" = "api"): InputBody {
  const spans = [{ ref: h.ref(text), from: 0, to: text.length }];
  return { type: "proposal", origin, key, say: { spans, chars: text.length }, reason: "say" };
}

export function authority(h: KernelHarness, kind: "renewed" | "rotated" | "revoked" | "granted_elsewhere"): InputBody {
  const { epoch, deadlineNs } = h.state.authority;
  return { type: "authority", kind, epoch: kind === "renewed" || kind === "revoked" ? epoch : epoch + 1, deadlineNs };
}

export function capacity(admit: boolean, outcome: "defer" | "reject" = "reject"): InputBody {
  return { type: "capacity", admit, outcome, reason: "no_capacity", evidenceQuotaBytes: -1 };
}

/** What the language model was asked last, as text. */
export function lastMessages(h: KernelHarness): string[] {
  const pushed = h.log.findLast(({ effect }) => effect.type === "provider_push_messages")?.effect;
  if (pushed?.type !== "provider_push_messages") return [];
  return pushed.messages.map((message) => `${message.role}: ${h.text(message.spans).trim()}`);
}

export function conversation(h: KernelHarness): string[] {
  return h.state.conversation.map((part) => `${part.role}: ${h.text(part.spans).trim()}`);
}
