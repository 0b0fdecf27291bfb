/** From the dialogue's fields to the kernel's policy and the sentences it names. What is not written is not there. */
import {
  type DialoguePolicy,
  type HistoryPolicy,
  SPOKEN_HANG_UP,
  SPOKEN_MAX_CALL_WARNING,
  SPOKEN_SUMMARY_PROMPT,
  spokenSilence,
} from "@rspp/kernel/dialogue-policy";
import { GUARD_WAIT_MS } from "@rspp/kernel/limits";
import type { DialogueDocument } from "./dialogue-document.ts";
import type { Sources } from "./sources.ts";
import type { PipelineSpec } from "./spec.ts";

export function compileDialogue(spec: PipelineSpec, sources: Sources): DialoguePolicy {
  const given = spec.policy ?? {};
  const policy: DialoguePolicy = {};
  const written = (field: string, key: string): void => sources.take(`policy.${field}`, `policy.${key}`);
  if (given.history !== undefined) {
    written("history", "history");
    policy.history = compileHistory(spec, given.history);
  }
  if (given.min_speech_ms !== undefined) {
    written("minSpeechMs", "min_speech_ms");
    policy.minSpeechMs = given.min_speech_ms;
  }
  if (given.back_channel !== undefined) {
    const { words, max_ms: maxMs = GUARD_WAIT_MS } = given.back_channel;
    written("backChannel", "back_channel");
    policy.backChannel = { words, maxMs };
  }
  if (given.echo_guard === true) {
    written("echoGuard", "echo_guard");
    policy.echoGuard = true;
  }
  if (given.silence !== undefined) {
    const { after_ms: afterMs, prompts, max_prompts, then: andThen = "nothing" } = given.silence;
    written("silence", "silence");
    policy.silence = { afterMs, prompts: prompts.length, maxPrompts: max_prompts ?? prompts.length, andThen };
  }
  if (given.hang_up !== undefined) {
    const { phrases = [], marker = "", key = "" } = given.hang_up;
    written("hangUp", "hang_up");
    policy.hangUp = { phrases, marker, key };
  }
  if (given.max_call_ms !== undefined) {
    written("maxCallMs", "max_call_ms");
    policy.maxCallMs = given.max_call_ms;
  }
  if (given.max_call_warning !== undefined) {
    written("maxCallWarningMs", "max_call_warning.before_ms");
    policy.maxCallWarningMs = given.max_call_warning.before_ms;
  }
  return policy;
}

function compileHistory(
  spec: PipelineSpec,
  { turns_max, tokens_max, summary }: NonNullable<DialogueDocument["history"]>,
): HistoryPolicy {
  const node = summary?.node ?? spec.nodes.find(({ kind }) => kind === "llm")?.id;
  return {
    estimator: "chars/4@1",
    ...(turns_max === undefined ? {} : { turnsMax: turns_max }),
    ...(tokens_max === undefined ? {} : { tokensMax: tokens_max }),
    ...(summary === undefined || node === undefined
      ? {}
      : { summary: { node, charsMax: summary.max_chars ?? SUMMARY_CHARS } }),
  };
}

const SUMMARY_CHARS = 1_000;
const SUMMARY_PROMPT =
  "Sum up the conversation so far in a few short sentences, for the agent who goes on with it. Keep names, numbers and what was agreed. Answer with the summary alone.";

/** The sentences by their names in `SessionConfig.spoken`; undefined where there are none. */
export function compileSpoken(spec: PipelineSpec, sources: Sources): Record<string, string> | undefined {
  const { silence, hang_up: hangUp, max_call_warning: warning } = spec.policy ?? {};
  const spoken: Record<string, string> = {};
  const say = (name: string, path: string, text: string | undefined): void => {
    if (text === undefined) return;
    spoken[name] = text;
    sources.take(`spoken.${name}`, `policy.${path}`);
  };
  for (const [i, prompt] of (silence?.prompts ?? []).entries()) say(spokenSilence(i), `silence.prompts[${i}]`, prompt);
  const { summary } = spec.policy?.history ?? {};
  if (summary !== undefined) {
    const own = summary.prompt;
    spoken[SPOKEN_SUMMARY_PROMPT] = own ?? SUMMARY_PROMPT;
    const path = `spoken.${SPOKEN_SUMMARY_PROMPT}`;
    if (own === undefined) sources.note(path, "derived");
    else sources.take(path, "policy.history.summary.prompt");
  }
  say(SPOKEN_HANG_UP, "hang_up.say", hangUp?.say);
  say(SPOKEN_MAX_CALL_WARNING, "max_call_warning.say", warning?.say);
  return Object.keys(spoken).length === 0 ? undefined : spoken;
}
