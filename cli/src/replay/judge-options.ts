/** Options that say how a replay or a comparison is judged and told; what they need is loaded when it is. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { whole } from "../options.ts";

export interface JudgeOptions {
  readonly expect?: string;
  readonly report?: string[];
  readonly toleranceMs?: number;
  readonly maxLatencyRegressionMs?: number;
}

const REPORT_FORMATS = /\.(?:html|md|json)$/;

export function withJudge(command: Command): Command {
  return command
    .option("--expect <file>", "divergences that are expected, each with a reason (rspp/divergences/v1)")
    .addOption(
      new Option("--report <file...>", "write the report: .html (both runs side by side), .md or .json").argParser(
        (text: string, before: string[] | undefined) => {
          if (!REPORT_FORMATS.test(text)) throw new InvalidArgumentError("the name ends in .html, .md or .json");
          return [...(before ?? []), text];
        },
      ),
    )
    .addOption(
      new Option("--tolerance-ms <ms>", "differences of time up to this are within tolerance, default 20").argParser(
        whole(0, 3_600_000),
      ),
    )
    .addOption(
      new Option("--max-latency-regression-ms <ms>", "fail where a latency is longer by more than this").argParser(
        whole(0, 3_600_000),
      ),
    );
}

/** What looks like a path is one; session ids have no dot and no slash. */
export function isFile(target: string): boolean {
  return target.includes("/") || /\.[a-z]+$/.test(target);
}
