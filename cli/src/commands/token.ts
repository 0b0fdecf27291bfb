import { type Command, InvalidArgumentError, Option } from "commander";
import {
  type Done,
  examples,
  jsonOption,
  type PlatformOptions,
  registryOption,
  whole,
  withCaller,
} from "../options.ts";

export interface TokenOptions extends PlatformOptions {
  role: "viewer" | "operator" | "admin";
  ttl: number;
  subject?: string;
  out?: string;
  limit: number;
  stolen?: boolean;
}

const dayMs = 86_400_000;
const unitsMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: dayMs };

/** `90m`, `12h`, `30d` in milliseconds. */
function duration(text: string): number {
  const [, count, unit = ""] = /^(\d{1,5})([mhd])$/.exec(text) ?? [];
  const ms = Number(count) * (unitsMs[unit] ?? Number.NaN);
  if (ms >= 60_000 && ms <= 90 * dayMs) return ms;
  throw new InvalidArgumentError("one minute to 90 days are possible, written as e.g. 90m, 12h or 30d");
}

export function registerToken(cli: Command, done: Done): void {
  const command = cli
    .command("token")
    .summary("access tokens: create, list, revoke, rotate-key")
    .description("access tokens of people and tools: what they may do, for which tenant and how long")
    .argument("<action>", "create, list, revoke, rotate-key")
    .argument("[id]", "token to revoke")
    .addOption(
      new Option("--role <role>", "of the new token").choices(["viewer", "operator", "admin"]).default("viewer"),
    )
    .addOption(new Option("--ttl <time>", "life of the new token").argParser(duration).default(dayMs, "1d"))
    .option("--subject <name>", "who will hold the new token (default: your user name)")
    .option("--out <file>", "file the new token is written to, readable by you alone; else it is printed")
    .option("--stolen", "with rotate-key: refuse what the old key signed, from now on")
    .option("--limit <count>", "tokens listed at most", whole(1, 1_000), 50)
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (action: string, id: string | undefined, options: TokenOptions) =>
      done(await (await import("../actions/token.ts")).token(action, id, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp token create --tenant acme --role operator --ttl 30d --out ci.token", ""],
    ["rspp sessions --tenant acme --token file:ci.token", "or RSPP_TOKEN in the environment"],
    ["rspp token revoke atk_… --tenant acme", "refused everywhere within seconds"],
  );
}
