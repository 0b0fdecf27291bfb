/** Instance ids of a platform's services: routes, leases and logs know a process by its own. */
import { CommandError, EXIT_INPUT } from "../errors.ts";
import type { UpService } from "./plan.ts";

export class Names {
  readonly #holders = new Map<string, UpService>();

  /** @throws CommandError when another service of the platform has it: a key that all services read set it for each. */
  take(service: UpService, instance: string): void {
    const holder = this.#holders.get(instance) ?? service;
    this.#holders.set(instance, holder);
    if (holder === service) return;
    const own = `RSPP_${service.toUpperCase().replaceAll("-", "_")}_INSTANCE_ID`;
    throw new CommandError({
      status: EXIT_INPUT,
      reason: "config_invalid",
      what: `${service} and ${holder} have the same instance_id, ${instance}`,
      remedy: `take it out of RSPP_INSTANCE_ID and the file of RSPP_CONFIG, which all services read; ${own} names this one`,
      metadata: { service },
    });
  }
}
