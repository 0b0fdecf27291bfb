import { type Command, InvalidArgumentError, Option } from "commander";
import { CommandError, EXIT_INPUT } from "../errors.ts";
import { type Done, dataOption, examples, jsonOption, nodesOption, whole } from "../options.ts";
import { isPortName, type PortName, portBaseDefault, portOffsets, runtimesMax, type UpOptions } from "./plan.ts";

interface UpFlags {
  readonly data: string;
  readonly host: string;
  readonly portBase: number;
  readonly port?: ReadonlyMap<PortName, number>;
  readonly processes?: boolean;
  readonly runtimes?: number;
  readonly gateway?: "library" | "service";
  readonly logLevel: string;
  readonly stopGraceMs: number;
  readonly json?: boolean;
}

/** Set where there is a LiveKit server; its url and secret stand beside it. */
const livekitKey = "RSPP_LIVEKIT_API_KEY";

/** `name=port`, several of them with commas between or in several options. */
function namedPort(text: string, before: ReadonlyMap<PortName, number> | undefined): ReadonlyMap<PortName, number> {
  const ports = new Map(before ?? []);
  for (const part of text.split(",")) {
    const [name = "", number = ""] = part.trim().split("=", 2);
    if (!isPortName(name)) {
      throw new InvalidArgumentError(
        `a port is set as name=number; the names are ${Object.keys(portOffsets).join(", ")}`,
      );
    }
    ports.set(name, whole(0, 65_535)(number));
  }
  return ports;
}

export function registerUp(cli: Command, done: Done): void {
  const command = cli
    .command("up")
    .summary("a platform on this machine")
    .description("start registry, lease, replay, runtime and the WebSocket adapter, in one process or in one each")
    .option("--processes", "a process for each service, the provider gateway included; one that dies is started again")
    .option("--runtimes <number>", "with --processes: a fleet of so many runtimes, one a core", whole(1, runtimesMax))
    .addOption(dataOption("database, keys, recordings; made when it is not there"))
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option(
      "--port-base <port>",
      "ports from here on: registry +1 … websocket +106, telephony +107; 0: any free ones",
      whole(0, 65_400),
      portBaseDefault,
    )
    .option("--port <name=port...>", `one port: ${Object.keys(portOffsets).join(", ")}; 0: any free one`, namedPort)
    .addOption(
      new Option(
        "--gateway <where>",
        "providers within the runtime or in a service of their own (with --processes the default)",
      ).choices(["library", "service"]),
    )
    .addOption(nodesOption())
    .addOption(
      new Option("--log-level <level>", "log on standard error, JSON")
        .choices(["debug", "info", "warn", "error", "silent"])
        .env("RSPP_LOG_LEVEL")
        .default("warn"),
    )
    .option("--stop-grace-ms <ms>", "running calls may go on for so long when it stops", whole(0, 600_000), 5_000)
    .addOption(jsonOption("one JSON object for each service that is ready, and one for the platform"))
    .action(async (flags: UpFlags) => {
      const { port, gateway, processes = false, json = false, ...rest } = flags;
      const ports = port ?? new Map<PortName, number>();
      if ((rest.runtimes ?? 1) > 1 && !processes)
        throw new CommandError({
          status: EXIT_INPUT,
          reason: "config_invalid",
          what: "--runtimes is for --processes: one process has one runtime",
          remedy: "add --processes, or leave --runtimes out",
        });
      const where = gateway ?? (processes ? "service" : "library");
      const livekit = process.env[livekitKey] !== undefined;
      const options: UpOptions = { ...rest, ports, processes, json, livekit, gateway: where };
      const up = processes
        ? (await import("./processes.ts")).upProcesses
        : (await import("./in-process.ts")).upInProcess;
      done(await up(options));
    });
  examples(
    command,
    ["rspp up", "and in another terminal: rspp talk voice-assistant --wav question.wav"],
    ["rspp up --processes --data /var/lib/rspp", ""],
    ["rspp up --processes --runtimes 3", "a fleet on this machine: calls go on when one of its runtimes dies"],
    [`${livekitKey}=… rspp up`, "agents for the rooms of a LiveKit server too (docs/livekit.md)"],
    ["rspp up --port-base 0 --json", "on free ports, told in JSON"],
  );
}
