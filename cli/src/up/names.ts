/** Instance ids of a platform's services: routes, leases and logs know a process by its own. */
import { CommandError, EXIT_INPUT } from "../errors.ts";
import type { UpService } from "./plan.ts";

export class Names {
  readonly #holders = new Map<string, string>();

  /** @throws CommandError when another service of the platform has it: a key that all services read set it for each. */
  take(service: UpService, instance: string, n = 1): void {
    const name = n === 1 ? service : `${service} ${n}`;
    const holder = this.#holders.get(instance) ?? name;
    this.#holders.set(instance, holder);
    if (holder === name) return;
    const own = `RSPP_${service.toUpperCase().replaceAll("-", "_")}_INSTANCE_ID`;
    throw new CommandError({
      status: EXIT_INPUT,
      reason: "config_invalid",
      what: `${name} and ${holder} have the same instance_id, ${instance}`,
      remedy: `take it out of RSPP_INSTANCE_ID and the file of RSPP_CONFIG, which all services read; ${own} names this one`,
      metadata: { service },
    });
  }
}
