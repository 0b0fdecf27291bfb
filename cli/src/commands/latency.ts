import { type Command, InvalidArgumentError, Option } from "commander";
import { type Done, examples, jsonOption } from "../options.ts";

export interface LatencyOptions {
  sttFinalMs: number;
  llmFirstMs: number;
  tokensPerS: number;
  ttsFirstMs: number;
  ttsFrameMs: number;
  question: string;
  reply: string;
  json?: boolean;
}

export function registerLatency(cli: Command, done: Done): void {
  const latency = cli.command("latency").summary("what streaming gains").description("latencies of an exchange");
  examples(latency, ["rspp latency compare --json", ""]);
  const command = latency
    .command("compare")
    .summary("streaming and non-streaming of the same exchange")
    .description(
      "plays one exchange twice, over simulated providers with the latencies given, in virtual time: streaming, and each " +
        "stage waiting for the one before",
    )
    .addOption(figure("--stt-final-ms <ms>", "end of the caller's words until their final text", 200, 60_000))
    .addOption(figure("--llm-first-ms <ms>", "question until the model's first token", 400, 60_000))
    .addOption(figure("--tokens-per-s <n>", "tokens a second after it", 50, 10_000))
    .addOption(figure("--tts-first-ms <ms>", "clause until the first of its audio", 150, 60_000))
    .addOption(figure("--tts-frame-ms <ms>", "time to make 20 ms of audio", 2, 1_000))
    .option("--question <words>", "what the caller says", "when do you open")
    .option(
      "--reply <words>",
      "what is answered",
      "We open at nine in the morning. On weekdays we close at six, and on Saturday we close at noon.",
    )
    .addOption(jsonOption())
    .action(async (options: LatencyOptions) =>
      done(await (await import("../actions/latency.ts")).compareLatency(options)),
    );
  examples(
    command,
    ["rspp latency compare", "with ordinary latencies"],
    ["rspp latency compare --llm-first-ms 1500 --tokens-per-s 20", "a slow model"],
  );
}

function figure(flags: string, about: string, fallback: number, max: number): Option {
  return new Option(flags, about).default(fallback).argParser((value) => {
    const number = Number(value);
    if (!Number.isFinite(number) || number < 0 || number > max || (flags.startsWith("--tokens") && number === 0))
      throw new InvalidArgumentError(`must be a number up to ${max}`);
    return number;
  });
}
