/** A service as a process: configuration, log, ready line, orderly stop. */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { RpcError } from "@rspp/rpc/errors";
import { createLog, describeFailure } from "@rspp/rpc/log";
import { StoreError, type StoreErrorCode } from "@rspp/store/store-error";
import { tuneCollector } from "./collector.ts";
import type { HostValues, ServiceFields } from "./common-fields.ts";
import { describeProblem, resolveConfig } from "./config.ts";
import type { ConfigValues } from "./config-fields.ts";
import type { ServiceDefinition } from "./service.ts";
import { type ReadyLine, startService } from "./start.ts";

/** Closing the database may take this long after the last call. */
const closeMs = 10_000;

/**
 * Runs until SIGTERM or SIGINT and ends the process: 0 in order, 1 failed or cut off, 2 the configuration does not hold.
 * Standard output gets one line when it is ready, JSON, or words on a terminal; standard error the log.
 */
export async function runService<F extends ServiceFields>(definition: ServiceDefinition<F>): Promise<void> {
  tuneCollector();
  const { service, fields } = definition;
  const { env } = process;
  const config = resolveConfig(fields, { service, argv: process.argv.slice(2), env });
  if (!config.ok) {
    for (const problem of config.error) process.stderr.write(`${service}: ${describeProblem(problem)}\n`);
    process.exitCode = 2;
    return;
  }
  if ("help" in config.value) return void process.stdout.write(config.value.help);
  const { values, shown, printOnly } = config.value;
  if (printOnly) return void process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
  const { log_level } = values as unknown as HostValues;
  const log = createLog({ service, level: log_level as "info", destination: { write: toStandardError } });
  log.info({ config: shown }, "configuration resolved");
  try {
    process.exitCode = (await serve(definition, values)) ? 0 : 1;
  } catch (failure) {
    process.stderr.write(`${service}: cannot start: ${tellFailure(failure)}\n`);
    log.error(describeFailure(failure), "start failed");
    process.exitCode = isConfiguration(failure) ? 2 : 1;
  }
}

function toStandardError(line: string): void {
  process.stderr.write(line);
}

async function serve<F extends ServiceFields>(
  definition: ServiceDefinition<F>,
  values: ConfigValues<F>,
): Promise<boolean> {
  const stopWanted = signalled();
  const running = await startService(definition, values);
  writeReady(running.ready);
  const { log } = running;
  log.info({ signal: await stopWanted }, "stopping");
  const graceMs = (values as unknown as HostValues).stop_grace_ms;
  setTimeout(() => process.exit(1), graceMs + closeMs).unref();
  const inOrder = await running.stop(graceMs);
  log.info({ in_order: inOrder }, "stopped");
  return inOrder;
}

/** Set by who starts services and holds their standard input open: when it ends, so do they, however their parent died. */
const stopWithStdin = "RSPP_STOP_WITH_STDIN";

/** The first signal; a second one ends the process at once. */
export function signalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (asked) process.exit(1);
      asked = true;
      resolve(signal);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
    if (process.env[stopWithStdin] !== "1") return;
    process.stdin.once("close", () => {
      if (!asked) onSignal("SIGTERM");
    });
    process.stdin.resume();
    if ("unref" in process.stdin) process.stdin.unref();
  });
}

/** JSON, or words on a terminal. */
export function writeReady(line: ReadyLine): void {
  process.stdout.write(process.stdout.isTTY ? `${line.message}\n` : `${JSON.stringify(line)}\n`);
}

/** Words of the errors whose text is safe; of any other only its kind. */
export function tellFailure(failure: unknown): string {
  if (failure instanceof StoreError || failure instanceof RpcError) return failure.message;
  return `an unforeseen failure (${failure instanceof Error ? failure.name : typeof failure}); its log line says where`;
}

const ofSurroundings: readonly StoreErrorCode[] = [
  "invalid",
  "permission",
  "secret_missing",
  "in_use",
  "port_in_use",
  "storage_full",
  "unsupported",
  "version_mismatch",
];

/** Whether what kept a service from starting is to be mended in its configuration or surroundings: exit status 2. */
export function isConfiguration(failure: unknown): boolean {
  if (failure instanceof RpcError) return failure.reason === ErrorReason.CONFIG_INVALID;
  return failure instanceof StoreError && ofSurroundings.includes(failure.code);
}
