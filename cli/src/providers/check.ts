/** The contract of providers as far as a healthy vendor can show it: answer, cancel, nothing asked, other scripts, much. */
import { nsToMs } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";
import type { InvocationChunk, InvocationOutcome, SettingValue } from "@rspp/ports/provider";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";

export interface CheckResult {
  readonly what: string;
  readonly ok: boolean;
  /** Why not; never what was asked or answered. */
  readonly detail: string;
  readonly ms: number;
}

const OUTCOME_MS_MAX = 30_000;
const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
const SENTENCE = "Good morning.";

interface Talk {
  readonly chunks: readonly InvocationChunk[];
  readonly outcomes: readonly InvocationOutcome[];
}

interface Asked {
  readonly text?: string;
  readonly times?: number;
  readonly cancel?: true;
  readonly settings?: Readonly<Record<string, SettingValue>>;
}

type Verdict = string | undefined;

/** Makes a handful of small calls. Each result says what was looked at; a failed one says why. */
export async function checkProvider(provider: ManagedProvider, clock: Clock): Promise<CheckResult[]> {
  const gateway = createProviderGateway({ clock, providers: [provider] });
  const hearing = provider.modality === "stt";
  // A tone holds no words: that the vendor takes it and comes to an end is what can be shown.
  const answered = (talk: Talk): Verdict =>
    outcomeIs(talk, hearing ? ["success", "empty"] : ["success"]) ?? said(talk, hearing);
  const checks: readonly (readonly [string, Asked, (talk: Talk) => Verdict])[] = [
    ["answers, streaming", { text: SENTENCE }, answered],
    ["answers, not streaming", { text: SENTENCE, settings: { streaming: false } }, answered],
    ["takes other scripts", { text: "Grüße aus 東京 🚀." }, answered],
    ["takes much", { text: `${SENTENCE} `.repeat(20), times: 5 }, answered],
    ["nothing asked is empty", {}, (talk) => outcomeIs(talk, ["empty"])],
    ["a cancel ends it at once", { text: SENTENCE, cancel: true }, (talk) => outcomeIs(talk, ["cancelled"])],
  ];
  const results: CheckResult[] = [];
  let count = 0;
  for (const [what, asked, judge] of checks) {
    count += 1;
    const beganNs = clock.nowNs();
    const talk = await play(gateway, provider, asked, count);
    const problem = judge(talk) ?? (talk.outcomes.length === 1 ? undefined : `${talk.outcomes.length} outcomes`);
    const ms = nsToMs(clock.nowNs()) - nsToMs(beganNs);
    results.push({ what, ok: problem === undefined, detail: problem ?? "", ms });
  }
  return results;
}

async function play(
  gateway: ReturnType<typeof createProviderGateway>,
  { name, modality }: ManagedProvider,
  { text, times = 1, cancel, settings = {} }: Asked,
  count: number,
): Promise<Talk> {
  const chunks: InvocationChunk[] = [];
  const outcomes: InvocationOutcome[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const invocation = gateway.open(
    {
      invocationId: `check-${count}`,
      modality,
      provider: name,
      settings,
      attemptTimeoutMs: OUTCOME_MS_MAX,
      idempotencyKey: `check-${count}`,
      sessionId: `check-${count}`,
      epoch: 1,
      turn: 1,
      generation: 1,
    },
    {
      chunk: (chunk) => void chunks.push(chunk),
      outcome(outcome) {
        outcomes.push(outcome);
        resolve();
      },
    },
  );
  const seconds = text === undefined ? 0 : times;
  if (modality === "stt")
    for (let i = 0; i < seconds * 50; i++)
      invocation.push({ kind: "audio", bytes: new Uint8Array(tone(i)), format, durationUs: 20_000 });
  else if (modality === "tts")
    for (let segment = 0; segment < seconds; segment++) invocation.push({ kind: "text", text: text ?? "", segment });
  else if (text !== undefined) invocation.push({ kind: "messages", messages: [{ role: "user", text }] });
  if (cancel === true) invocation.cancel("check");
  else invocation.finish();
  const late = setTimeout(() => invocation.cancel("no outcome in time"), OUTCOME_MS_MAX);
  await promise;
  clearTimeout(late);
  return { chunks, outcomes };
}

function tone(frame: number): ArrayBuffer {
  const at = frame * 320;
  return Int16Array.from({ length: 320 }, (_, i) => Math.round(6_000 * Math.sin((at + i) / 6))).buffer;
}

function outcomeIs({ outcomes: [outcome] }: Talk, kinds: readonly string[]): Verdict {
  if (outcome === undefined) return "no outcome";
  return kinds.includes(outcome.kind) ? undefined : `outcome ${outcome.kind}: ${outcome.detail}`;
}

function said({ chunks, outcomes: [outcome] }: Talk, hearing: boolean): Verdict {
  if (chunks.length > 0 || (hearing && outcome?.kind === "empty")) return undefined;
  return "nothing was answered";
}
