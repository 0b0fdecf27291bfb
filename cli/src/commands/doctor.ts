/** `rspp doctor`: what is there, what is missing, what to do about it. */
import type { Command } from "commander";
import { Option } from "commander";
import {
  type Done,
  dataOption,
  examples,
  jsonOption,
  registryOption,
  replayOption,
  runtimeOption,
} from "../options.ts";
import { portBaseDefault, portOffsets } from "../up/plan.ts";

export interface DoctorOptions {
  data: string;
  registry: string;
  runtime: string;
  replay: string;
  lease: string;
  gateway: string;
  websocket: string;
  json?: boolean;
}

const local = (offset: number): string => `http://127.0.0.1:${portBaseDefault + offset}`;

const serviceOption = (flag: string, about: string, offset: number): Option =>
  new Option(`--${flag} <url>`, about).env(`RSPP_${flag.toUpperCase()}`).default(local(offset)).helpGroup("Platform:");

export function registerDoctor(cli: Command, done: Done): void {
  const command = cli
    .command("doctor")
    .summary("what is there, what is missing, what to do")
    .description("check this machine, the data folder, the ports, and who answers at the platform's addresses")
    .addOption(dataOption("folder to check"))
    .addOption(registryOption())
    .addOption(serviceOption("lease", "lease service", portOffsets.lease))
    .addOption(runtimeOption())
    .addOption(serviceOption("gateway", "provider gateway", portOffsets["provider-gateway"]))
    .addOption(replayOption())
    .addOption(serviceOption("websocket", "WebSocket adapter's API", portOffsets["transport-websocket"]))
    .addOption(jsonOption())
    .action(async (options: DoctorOptions) =>
      done(await (await import("../actions/doctor.ts")).doctor(options, command)),
    );
  examples(
    command,
    ["rspp doctor", "status 0 when nothing is broken"],
    ["rspp doctor --registry http://10.0.0.5:7101", ""],
  );
}
