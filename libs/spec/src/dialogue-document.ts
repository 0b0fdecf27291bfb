/** The fields of `policy` that say how the dialogue goes, as written. */

export interface DialogueDocument {
  history?: {
    turns_max?: number;
    tokens_max?: number;
    summary?: { node?: string; max_chars?: number; prompt?: string };
  };
  min_speech_ms?: number;
  back_channel?: { words: readonly string[]; max_ms?: number };
  echo_guard?: boolean;
  silence?: {
    after_ms: number;
    prompts: readonly string[];
    max_prompts?: number;
    then?: "hang_up" | "nothing";
  };
  hang_up?: { say?: string; phrases?: readonly string[]; marker?: string; key?: "*" | "#" };
  max_call_ms?: number;
  max_call_warning?: { before_ms: number; say: string };
}
