import type { Command } from "commander";
import { type Done, examples, jsonOption, type PlatformOptions, registryOption, withCaller } from "../options.ts";

export interface TenantOptions extends PlatformOptions {}

export function registerTenant(cli: Command, done: Done): void {
  const command = cli
    .command("tenant")
    .summary("what a tenant may use, and what is in force for it")
    .description("quotas, rates and regions of a tenant, and every version in force for it, inherited ones included")
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (options: TenantOptions) => done(await (await import("../actions/tenant.ts")).tenant(options)));
  withCaller(command);
  examples(
    command,
    ["rspp tenant --tenant acme", ""],
    ["rspp publish pipelines/tenants/small-tenant.yaml --tenant acme", "sets its quotas and rates"],
    ["rspp rollback default --kind tenant_config --tenant acme", "takes the change back"],
  );
}
