/** Every command of `rspp`, in the groups its help shows. */
import { Command } from "commander";
import { registerAudit } from "./commands/audit.ts";
import { registerCompletion } from "./commands/completion.ts";
import { registerDemo } from "./commands/demo.ts";
import { registerDiff } from "./commands/diff.ts";
import { registerDocs } from "./commands/docs.ts";
import { registerDoctor } from "./commands/doctor.ts";
import { registerDrain, registerUndrain } from "./commands/drain.ts";
import { registerExport } from "./commands/export.ts";
import { registerFeatures } from "./commands/features.ts";
import { registerGate, registerRelease } from "./commands/gate.ts";
import { registerGraph } from "./commands/graph.ts";
import { registerLatency } from "./commands/latency.ts";
import { registerLint } from "./commands/lint.ts";
import { registerMigrate } from "./commands/migrate.ts";
import { registerNodes } from "./commands/nodes.ts";
import { registerPipelines } from "./commands/pipelines.ts";
import { registerPolicy } from "./commands/policy.ts";
import { registerProviders } from "./commands/providers.ts";
import { registerPublish } from "./commands/publish.ts";
import { registerReplay } from "./commands/replay.ts";
import { registerResolved } from "./commands/resolved.ts";
import { registerRollback } from "./commands/rollback.ts";
import { registerRollout } from "./commands/rollout.ts";
import { registerRoute } from "./commands/route.ts";
import { registerRun } from "./commands/run.ts";
import { registerSchema } from "./commands/schema.ts";
import { registerSecrets } from "./commands/secrets.ts";
import { registerSessions } from "./commands/sessions.ts";
import { registerCancel, registerCapture, registerEnd, registerSay } from "./commands/steer.ts";
import { registerStore } from "./commands/store.ts";
import { registerSummary } from "./commands/summary.ts";
import { registerTalk } from "./commands/talk.ts";
import { registerTenant } from "./commands/tenant.ts";
import { registerTest } from "./commands/test.ts";
import { registerTimeline } from "./commands/timeline.ts";
import { registerToken } from "./commands/token.ts";
import { registerValidate } from "./commands/validate.ts";
import { registerVerify } from "./commands/verify.ts";
import { registerWatch } from "./commands/watch.ts";
import type { Done } from "./options.ts";
import { coloured } from "./output/style.ts";
import { registerUp } from "./up/command.ts";

type Register = (cli: Command, done: Done) => void;

const groups: readonly (readonly [string, readonly Register[]])[] = [
  ["Start here:", [registerDemo, registerUp, registerTalk, registerRun, registerDoctor]],
  [
    "Pipelines:",
    [
      registerLint,
      registerTest,
      registerGraph,
      registerResolved,
      registerValidate,
      registerPublish,
      registerPipelines,
      registerNodes,
      registerProviders,
    ],
  ],
  ["Fleet:", [registerRollout, registerRollback, registerPolicy, registerTenant, registerDrain, registerUndrain]],
  [
    "Sessions:",
    [
      registerRoute,
      registerSessions,
      registerWatch,
      registerSay,
      registerCancel,
      registerCapture,
      registerEnd,
      registerMigrate,
    ],
  ],
  [
    "Recordings:",
    [registerTimeline, registerSummary, registerReplay, registerDiff, registerExport, registerVerify, registerLatency],
  ],
  ["Release:", [registerGate, registerRelease]],
  ["Store:", [registerStore]],
  ["Access:", [registerToken, registerAudit, registerSecrets]],
  ["Reference:", [registerDocs, registerSchema, registerFeatures, registerCompletion]],
];

const afterHelp = `
Examples:
  $ rspp demo --once                                    # hear it work, without anything installed
  $ rspp up                                             # a platform on this machine
  $ rspp publish pipelines/specs/voice-assistant.yaml
  $ rspp talk voice-assistant --wav question.wav

Addresses come from --registry, --runtime and --replay, or RSPP_REGISTRY, RSPP_RUNTIME and RSPP_REPLAY.
Exit statuses: 0 done, 1 ran and failed, 2 wrong usage or bad input, 3 the platform cannot be reached.`;

/** Name and arguments; that there are options is said once, above. */
function subcommandTerm(command: Command): string {
  const args = command.registeredArguments.map((arg) => {
    const name = arg.name() + (arg.variadic ? "..." : "");
    return arg.required ? `<${name}>` : `[${name}]`;
  });
  return [command.name(), ...args].join(" ");
}

export function createProgram(done: Done): Command {
  const cli = new Command("rspp")
    .description("Real-time Speech Pipeline Platform: voice agents with guarantees, and proof of what they did")
    .usage("<command> [options]")
    .version("0.1.0", "-V, --version")
    // What stands behind a command is that command's: `rspp release --version 1.4.0`.
    .enablePositionalOptions()
    .exitOverride()
    .helpCommand(false)
    .configureOutput({
      getOutHasColors: () => coloured(process.stdout, process.env),
      getErrHasColors: () => coloured(process.stderr, process.env),
    })
    .configureHelp({ subcommandTerm })
    .showHelpAfterError("(rspp --help shows what there is)");
  for (const [heading, commands] of groups) {
    cli.commandsGroup(heading);
    for (const register of commands) register(cli, done);
  }
  for (const command of cli.commands) command.showHelpAfterError(`(rspp ${command.name()} --help shows what there is)`);
  cli.addHelpText("after", afterHelp);
  return cli;
}
