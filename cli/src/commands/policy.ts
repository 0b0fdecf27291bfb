import type { Command } from "commander";
import {
  type Done,
  examples,
  gathered,
  jsonOption,
  type PlatformOptions,
  registryOption,
  whole,
  withCaller,
} from "../options.ts";

export interface PolicyOptions extends PlatformOptions {
  version?: number;
  pipeline: string;
  language: string;
  region: string;
  costTier: string;
  var?: string[];
  unhealthy?: string[];
  price?: string[];
}

export function registerPolicy(cli: Command, done: Done): void {
  const command = cli
    .command("policy")
    .summary("which policies are in force, and what they decide: list, show, try")
    .description(
      "policies in force (list), the rules and versions of one (show), and what one decides for a session (try): from " +
        "the registry, or from a file that is not published yet",
    )
    .argument("<action>", "list, show, try")
    .argument("[policy]", "name of a policy, or a file; default: the one in force for the tenant")
    .option(
      "--version <version>",
      "with show and try: that version (default: the one in force)",
      whole(1, 2_147_483_647),
    )
    .option("--pipeline <name>", "with try: pipeline of the session", "")
    .option("--language <tag>", "with try: language of the session", "")
    .option("--region <region>", "with try: region of the runtime", "")
    .option("--cost-tier <tier>", "with try: cost tier of the session", "")
    .option("--var <name=value...>", "with try: session variables", gathered)
    .option("--unhealthy <provider...>", "with try: providers that are not well", gathered)
    .option("--price <provider=price...>", "with try: prices that are known", gathered)
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (action: string, name: string | undefined, options: PolicyOptions) =>
      done(await (await import("../actions/policy.ts")).policy(action, name, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp policy list", ""],
    ["rspp policy try --cost-tier premium --unhealthy local/flite", "what a session of now would get, and why"],
    ["rspp policy try pipelines/policies/default.yaml --var room=noisy", "before it is published"],
    ["rspp publish pipelines/policies/default.yaml", "puts it in force"],
    ["rspp rollback default --kind policy", "the version before; no pipeline is touched"],
  );
}
