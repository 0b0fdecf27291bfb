/** A call to a running platform over WebSocket, from WAVs or a microphone (F-084). */
import type { Client } from "@rspp/client/client";
import { connect } from "@rspp/client/connect";
import { ClientError } from "@rspp/client/errors";
import { globalHost } from "@rspp/client/host";
import { CommandError, EXIT_FAILED, EXIT_INPUT, EXIT_UNREACHABLE } from "../errors.ts";
import { Conversation, type HeardTurn, type Tell } from "./conversation.ts";
import { openRealLoudspeaker, openRealMicrophone } from "./devices.ts";
import { Loudspeaker } from "./loudspeaker.ts";
import { openMicrophone } from "./microphone.ts";

export interface Utterance {
  readonly path: string;
  /** 16 kHz mono. */
  readonly samples: Int16Array;
}

export interface CallPlan {
  readonly url: string;
  readonly token: string;
  readonly utterances: readonly Utterance[];
  /** Speak from the microphone until `signal`. */
  readonly microphone: boolean;
  /** Each utterance but the first starts when so much of the reply was played; null: after the reply. */
  readonly bargeInAfterMs: number | null;
  readonly signal: AbortSignal;
  readonly tell: Tell;
}

export interface CallOutcome {
  readonly session: string;
  readonly turns: readonly HeardTurn[];
  /** Paths of utterances no turn came of. */
  readonly unheard: readonly string[];
  readonly bargeIns: number;
  readonly errors: readonly string[];
  readonly resumes: number;
  /** Why the session ended. */
  readonly ended: string;
  /** Hung up by this end, in order. */
  readonly inOrder: boolean;
  /** What was heard, 16 kHz mono. */
  readonly recording: Int16Array;
}

/** In which the agent may begin to speak first, and in which a turn may open after the last word, milliseconds. */
const greetingMs = 1_500;
const answerMs = 8_000;
const settleMs = 120_000;
const hangUpMs = 5_000;
const pollMs = 10;

/** @throws CommandError when no session can be had. */
export async function holdCall(plan: CallPlan): Promise<CallOutcome> {
  const host = globalHost();
  const conversation = new Conversation(host.nowMs, plan.tell);
  const device = plan.microphone ? openRealLoudspeaker() : null;
  let client: Client | null = null;
  const loudspeaker = new Loudspeaker({
    host,
    device: device === null ? null : (samples) => device.play(samples),
    onFrame: (frame) => conversation.hears(frame),
    onPlayed: (played) => {
      conversation.played(played);
      client?.played(played);
    },
  });
  try {
    client = await connect(plan.url, plan.token, { wantMetrics: true, player: loudspeaker });
  } catch (error) {
    device?.close();
    throw error instanceof ClientError ? callFailure(error, plan.url) : error;
  }
  conversation.attach(client);
  plan.tell("line", `session ${client.session} is open`);
  try {
    const said = plan.microphone ? await speakLive(client, plan) : await speakAll(client, conversation, plan);
    const { inOrder, reason } = await hangUp(client);
    return {
      session: client.session,
      turns: [...conversation.turns.values()],
      ...said,
      errors: conversation.errors,
      resumes: conversation.resumes,
      ended: reason,
      inOrder,
      recording: loudspeaker.recording(),
    };
  } finally {
    device?.close();
  }
}

interface Said {
  readonly unheard: readonly string[];
  readonly bargeIns: number;
}

async function speakAll(client: Client, conversation: Conversation, plan: CallPlan): Promise<Said> {
  const over = (): boolean => client.state === "closed" || plan.signal.aborted;
  const microphone = openMicrophone({ nowMs: () => performance.now(), send: (frame) => sendTo(client, frame) });
  const unheard: string[] = [];
  let bargeIns = 0;
  try {
    await until(() => over() || conversation.turns.size > 0, greetingMs);
    await until(() => over() || conversation.settled(), settleMs);
    for (const [i, utterance] of plan.utterances.entries()) {
      if (over()) {
        unheard.push(utterance.path);
        continue;
      }
      const before = conversation.turns.size;
      if (!conversation.settled()) bargeIns += 1;
      plan.tell("line", `speaking ${utterance.path} (${(utterance.samples.length / 16_000).toFixed(1)} s)`);
      conversation.speaks();
      await Promise.race([microphone.speak(utterance.samples), until(over, settleMs)]);
      conversation.spoke();
      await until(() => over() || conversation.answered(before), answerMs);
      if (!conversation.answered(before)) unheard.push(utterance.path);
      const goOn = i < plan.utterances.length - 1 ? plan.bargeInAfterMs : null;
      const played = (): boolean => goOn !== null && conversation.playedOfNewest() >= goOn;
      await until(() => over() || conversation.settled() || played(), settleMs);
    }
  } finally {
    microphone.close();
  }
  return { unheard, bargeIns };
}

/** Until Ctrl-C, or the session's end. */
async function speakLive(client: Client, plan: CallPlan): Promise<Said> {
  const microphone = openRealMicrophone((frame) => sendTo(client, frame));
  plan.tell("line", `${microphone.program} listens: speak; Ctrl-C hangs up`);
  const stopped = new Promise<void>((resolve) => {
    if (plan.signal.aborted) return resolve();
    plan.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  try {
    await Promise.race([stopped, client.ended, microphone.ended]);
  } finally {
    microphone.close();
  }
  return { unheard: [], bargeIns: 0 };
}

function sendTo(client: Client, frame: Int16Array): void {
  if (client.state === "open" || client.state === "reconnecting") client.sendAudio(frame);
}

async function hangUp(client: Client): Promise<{ inOrder: boolean; reason: string }> {
  const inOrder = client.state !== "closed";
  client.end();
  const late = new Promise<string>((resolve) => setTimeout(() => resolve("the server did not say goodbye"), hangUpMs));
  return { inOrder, reason: await Promise.race([client.ended, late]) };
}

function until(done: () => boolean, maxMs: number): Promise<boolean> {
  const endMs = performance.now() + maxMs;
  return new Promise((resolve) => {
    const look = (): void => {
      if (done()) return resolve(true);
      if (performance.now() >= endMs) return resolve(false);
      setTimeout(look, pollMs);
    };
    look();
  });
}

function callFailure(error: ClientError, url: string): CommandError {
  const unreachable = error.reason === "unreachable" || error.reason === "timeout";
  const problem = error.message.endsWith(error.remedy)
    ? error.message.slice(0, -error.remedy.length).replace(/[. ]+$/, "")
    : error.message;
  const refusal = /^(?:token_|unauthenticated|permission|unsupported|schema)/.test(error.serverReason);
  return new CommandError({
    status: unreachable ? EXIT_UNREACHABLE : refusal || error.reason === "usage" ? EXIT_INPUT : EXIT_FAILED,
    reason: error.serverReason || error.reason,
    what: unreachable ? `the transport cannot be reached at ${url}: ${problem}` : problem,
    remedy: unreachable ? "`rspp doctor` shows what answers; is the adapter of this endpoint up?" : error.remedy,
    metadata: { url },
  });
}
