/** Why the platform does not start or has ended, with the exit status. */
import { type ConfigProblem, describeProblem } from "@rspp/host/config";
import { isConfiguration, tellFailure } from "@rspp/host/process";
import { CommandError, EXIT_FAILED, EXIT_INPUT } from "../errors.ts";

export function startFailure(service: string, failure: unknown): unknown {
  if (failure instanceof CommandError) return failure;
  return new CommandError({
    status: isConfiguration(failure) ? EXIT_INPUT : EXIT_FAILED,
    reason: "start_failed",
    what: `${service} cannot start: ${tellFailure(failure)}`,
    remedy: "nothing is left running; mend it and start again",
    metadata: { service },
  });
}

export function configFailure(service: string, problems: readonly ConfigProblem[]): CommandError {
  return new CommandError({
    status: EXIT_INPUT,
    reason: "config_invalid",
    what: `the configuration of ${service} does not hold: ${problems.map(describeProblem).join(" ")}`,
    remedy: `mend it; \`node services/${service}/src/main.ts --help\` lists its keys`,
    metadata: { service },
  });
}

/** A child of ours that ended before it was ready. */
export function childFailure(service: string, status: number | null, lastLines: readonly string[]): CommandError {
  const told = lastLines.find((line) => line.startsWith(`${service}: `)) ?? `${service} ended with status ${status}`;
  return new CommandError({
    status: status === EXIT_INPUT ? EXIT_INPUT : EXIT_FAILED,
    reason: "start_failed",
    what: told,
    fields: lastLines.filter((line) => line !== told).map((line) => ({ field: "log", message: line })),
    remedy: "nothing is left running; mend it and start again",
    metadata: { service },
  });
}
